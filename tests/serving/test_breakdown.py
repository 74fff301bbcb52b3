"""An evaluation's breakdown counts every judged answer once: by hardness, by database, and each wrong one by its kind."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.error_kinds import ErrorKind
from corpus.hardness import Hardness
from corpus.schema import Schema
from serving.breakdown import Case, breakdown
from serving.cli.evaluate import show_metrics
from serving.cli.output import console
from serving.databases import Database
from serving.evaluation import evaluate, metrics
from serving.pipeline import AskResult
from serving.predictions import Judged

KNOWN = [
    "SELECT a FROM t",
    "SELECT a, b FROM t",
    "SELECT a FROM t WHERE b = (SELECT 1)",
    "SELECT a FROM",
    "no SQL at all",
]
cases = st.builds(
    Case,
    db_id=st.sampled_from(["one", "two", "three"]),
    schema=st.just(Schema(())),
    known=st.sampled_from(KNOWN),
    predicted=st.sampled_from(["", "SELECT b FROM t", "SELECT a FROM u", "SELECT max(a), b FROM t"]),
    correct=st.booleans(),
    runs=st.booleans(),
    known_runs=st.booleans(),
)


class Saying:
    """Answers each question with the SQL that the question is."""

    def ask(self, questions: list[tuple[str, Database]]) -> list[AskResult]:
        return [
            AskResult("" if text == "-" else text, 0.7, False, [], "m", 1, 1, 1.0) for text, _ in questions
        ]


class Silent:
    """Is not asked."""

    def ask(self, questions: list[tuple[str, Database]]) -> list[AskResult]:
        raise AssertionError(f"asked {questions}")


LINES = [  # what is answered, the known SQL, the database
    ("SELECT name FROM suppliers", "SELECT name FROM suppliers", "shop"),
    ("SELECT country FROM suppliers", "SELECT name FROM suppliers", "shop"),
    ("-", "SELECT name, country FROM suppliers", "shop"),
    ("SELECT name FROM suppliers", "SELECT nowhere FROM suppliers", "shop"),
    ("DELETE FROM parts", "SELECT id FROM parts", "store"),
    ("SELECT nowhere FROM parts", "SELECT id FROM parts ORDER BY price DESC LIMIT 1", "store"),
    ("SELECT id FROM parts WHERE price < 8", "SELECT id FROM parts WHERE price > (SELECT 1)", "store"),
    ("SELECT id FROM parts", None, "store"),
]


@pytest.fixture
def questions(tmp_path: Path, shop: Path) -> Path:
    for name in ("shop", "store"):
        shutil.copy(shop, tmp_path / f"{name}.sqlite")
    file = tmp_path / "questions.jsonl"
    lines = [
        {"id": i, "question": text, "sql": sql, "db_id": name} for i, (text, sql, name) in enumerate(LINES)
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


@given(st.lists(cases))
def test_every_answer_is_counted_once(judged: list[Case]) -> None:
    found = breakdown(judged)
    right = sum(case.correct for case in judged)
    for shares in (found["by_hardness"], found["by_database"]):
        assert sum(one["n"] for one in shares.values()) == len(judged)
        assert sum(one["n"] * (one["accuracy"] or 0) for one in shares.values()) == pytest.approx(right)
        assert all((one["accuracy"] is None) == (one["n"] == 0) for one in shares.values())
    assert sum(found["by_error"].values()) == len(judged) - right
    assert list(found["by_error"]) == list(ErrorKind)
    assert list(found["by_hardness"])[:4] == list(Hardness)
    assert ("unknown" in found["by_hardness"]) == any(case.known in KNOWN[3:] for case in judged)
    assert json.loads(json.dumps(found)) == found


def test_an_evaluation_says_where_it_is_wrong(questions: Path) -> None:
    found = evaluate(Saying(), questions, questions.parent, questions.parent / "out.jsonl")
    assert found["by_hardness"] == {
        "easy": {"n": 4, "accuracy": 0.25},
        "medium": {"n": 2, "accuracy": 0.0},
        "hard": {"n": 1, "accuracy": 0.0},
        "extra": {"n": 0, "accuracy": None},
    }
    assert found["by_database"] == {"shop": {"n": 4, "accuracy": 0.25}, "store": {"n": 3, "accuracy": 0.0}}
    assert {kind: count for kind, count in found["by_error"].items() if count} == {
        "no_sql": 1,
        "known_sql_fails": 1,
        "does_not_run": 2,
        "wrong_nesting": 1,
        "wrong_columns": 1,
    }
    assert found["n"] == 7
    assert found["without_known_sql"] == 1


def test_it_is_the_same_from_a_file_of_predictions_that_is_taken_up(questions: Path) -> None:
    out = questions.parent / "out.jsonl"
    whole = evaluate(Saying(), questions, questions.parent, out)
    assert evaluate(Silent(), questions, questions.parent, out, resume=True) == whole
    assert {"id", "sql", "confidence", "signals", "correct"} <= json.loads(
        out.read_text().splitlines()[0]
    ).keys()
    part = evaluate(Silent(), questions, questions.parent, out, resume=True, limit=2)
    assert part["by_database"] == {"shop": {"n": 2, "accuracy": 0.5}}


def test_lines_alone_have_no_breakdown() -> None:
    found = metrics([Judged(1, "SELECT 1", 0.5, [], True, "shop", False, None)])
    assert found["n"] == 1
    assert not {"by_hardness", "by_error", "by_database"} & found.keys()


@pytest.mark.parametrize("databases", [1, 30, 31])
def test_the_tables_fit_a_terminal_and_name_the_worst_databases(
    databases: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "width", 100)
    judged = [
        Case(f"database_{d:02}", Schema(()), "SELECT a FROM t", "SELECT a FROM u", right <= d, True, True)
        for d in range(databases)
        for right in range(databases)
    ]
    with console.capture() as printed:
        show_metrics({"n": len(judged), **breakdown(judged)})
    text = printed.get()
    assert max(map(len, text.splitlines())) <= 100
    assert "extra" in text
    named = [d for d in range(databases) if f"database_{d:02}" in text]
    assert named == list(range(databases if databases <= 30 else 15))
    assert ("worst 15 of 31 databases" in text) == (databases == 31)
    assert ("wrong tables" in text) == (databases > 1)


def test_of_no_known_sql_there_is_an_empty_breakdown(questions: Path) -> None:
    questions.write_text(json.dumps({"id": 1, "question": "-", "sql": None, "db_id": "shop"}))
    found = evaluate(Saying(), questions, questions.parent, questions.parent / "out.jsonl")
    assert found["by_database"] == {}
    assert not any(found["by_error"].values())
    with console.capture() as printed:
        show_metrics(found)
    assert "hardness" in printed.get()
    assert "database" not in printed.get()
