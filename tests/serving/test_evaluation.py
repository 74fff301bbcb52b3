"""An evaluation writes a line for each question, goes on where it was cut short, and counts what is right."""

import json
from pathlib import Path

import pytest

from serving.calibration import calibrate
from serving.databases import Database
from serving.errors import DatabaseUnavailable, EvaluationError
from serving.evaluation import evaluate
from serving.pipeline import AskResult
from serving.predictions import Judged, read_predictions
from sqlconf.signal import Reading


class Knowing:
    """Answers from a table of questions, with the confidence that it is given."""

    def __init__(self, answers: dict[str, tuple[str, float]]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def ask(self, questions: list[tuple[str, Database]]) -> list[AskResult]:
        self.asked += [question for question, _ in questions]
        return [self._one(*self.answers[question]) for question, _ in questions]

    def _one(self, sql: str, confidence: float) -> AskResult:
        signals = [Reading("likelihood", confidence, 1.0, "")] if sql else []
        return AskResult(sql, confidence, confidence < 0.5, signals, "m", 1, 1, 1.0)


ANSWERS = {
    "how many": ("SELECT count(id) FROM suppliers", 0.9),
    "names by id": ("SELECT name FROM suppliers ORDER BY id DESC", 0.6),
    "names": ("SELECT name FROM suppliers ORDER BY id DESC", 0.8),
    "broken": ("SELECT nowhere FROM suppliers", 0.2),
    "evil": ("DELETE FROM suppliers", 0.3),
    "silent": ("", 0.0),
}
GOLD = [
    ("how many", "SELECT count(*) FROM suppliers", True),
    ("names by id", "SELECT name FROM suppliers ORDER BY id", False),
    ("names", "SELECT name FROM suppliers", True),
    ("broken", "SELECT 1", False),
    ("evil", "SELECT 1", False),
    ("silent", "SELECT 1", False),
]


@pytest.fixture
def questions(tmp_path: Path, shop: Path) -> Path:
    (tmp_path / "shop.sqlite").write_bytes(shop.read_bytes())
    file = tmp_path / "questions.jsonl"
    lines = [
        {"id": f"q{i}", "question": q, "sql": sql, "db_id": "shop"} for i, (q, sql, _) in enumerate(GOLD)
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def test_each_line_is_judged_by_what_its_sql_answers(questions: Path) -> None:
    out = questions.parent / "out.jsonl"
    found = evaluate(Knowing(ANSWERS), questions, questions.parent, out, batch=4)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["id"] for line in lines] == [f"q{i}" for i in range(6)]
    assert [line["correct"] for line in lines] == [right for _, _, right in GOLD]
    assert {"id", "sql", "confidence", "signals", "correct", "db_id", "abstain", "error"} <= lines[0].keys()
    assert found["n"] == 6
    assert found["accuracy"] == pytest.approx(2 / 6)
    assert found["auroc"] == pytest.approx(1.0)
    assert found["signals"]["likelihood"]["measured"] == 5
    assert found["accuracy_answered"] == pytest.approx(2 / 3)
    assert found["without_sql"] == 1


def test_a_run_that_was_cut_short_goes_on_and_ends_the_same(questions: Path) -> None:
    whole, part = questions.parent / "whole.jsonl", questions.parent / "part.jsonl"
    expected = evaluate(Knowing(ANSWERS), questions, questions.parent, whole)
    lines = whole.read_text().splitlines(keepends=True)
    part.write_text("".join(lines[:2]) + lines[2][:20])
    knowing = Knowing(ANSWERS)
    assert evaluate(knowing, questions, questions.parent, part, resume=True) == expected
    assert part.read_text() == whole.read_text()
    assert knowing.asked == [question for question, _, _ in GOLD[2:]]


@pytest.mark.parametrize(
    ("was", "other"), [("q0", "other"), (GOLD[0][0], "another question under the same id")]
)
def test_predictions_of_other_questions_are_not_taken_for_these(
    questions: Path, was: str, other: str
) -> None:
    out = questions.parent / "out.jsonl"
    evaluate(Knowing(ANSWERS), questions, questions.parent, out)
    questions.write_text(questions.read_text().replace(json.dumps(was), json.dumps(other)))
    with pytest.raises(EvaluationError, match="other questions"):
        evaluate(Knowing(ANSWERS), questions, questions.parent, out, resume=True)


def test_what_another_model_answered_is_overwritten(questions: Path) -> None:
    out = questions.parent / "out.jsonl"
    evaluate(Knowing(dict.fromkeys(ANSWERS, ("", 0.0))), questions, questions.parent, out)
    knowing = Knowing(ANSWERS)
    assert evaluate(knowing, questions, questions.parent, out)["accuracy"] == pytest.approx(2 / 6)
    assert len(knowing.asked) == len(out.read_text().splitlines()) == 6


def test_a_longer_run_is_taken_up_by_a_shorter_one(questions: Path) -> None:
    out = questions.parent / "out.jsonl"
    evaluate(Knowing(ANSWERS), questions, questions.parent, out)
    knowing = Knowing(ANSWERS)
    found = evaluate(knowing, questions, questions.parent, out, resume=True, limit=2)
    assert found["n"] == 2
    assert knowing.asked == []


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_in_place_of_predictions_is_named(questions: Path, resume: bool) -> None:
    with pytest.raises(EvaluationError, match="cannot be written: Is a directory"):
        evaluate(Knowing(ANSWERS), questions, questions.parent, questions.parent, resume=resume)


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="no such device here")
def test_predictions_may_go_nowhere(questions: Path) -> None:
    for resume in (False, True):
        null = Path("/dev/null")
        assert evaluate(Knowing(ANSWERS), questions, questions.parent, null, resume=resume)["n"] == 6


def test_ids_keep_their_type(questions: Path) -> None:
    text = questions.read_text()
    for i in range(6):
        text = text.replace(f'"q{i}"', str(i))
    questions.write_text(text)
    out = questions.parent / "out.jsonl"
    evaluate(Knowing(ANSWERS), questions, questions.parent, out, limit=3)
    evaluate(Knowing(ANSWERS), questions, questions.parent, out, resume=True)
    assert [json.loads(line)["id"] for line in out.read_text().splitlines()] == list(range(6))


def test_a_question_without_known_sql_is_answered_and_not_judged(questions: Path) -> None:
    questions.write_text(questions.read_text().replace(json.dumps(GOLD[0][1]), "null"))
    out = questions.parent / "out.jsonl"
    found = evaluate(Knowing(ANSWERS), questions, questions.parent, out)
    first = json.loads(out.read_text().splitlines()[0])
    assert (first["sql"], first["correct"]) == (ANSWERS["how many"][0], None)
    assert (found["n"], found["without_known_sql"]) == (5, 1)
    assert found["accuracy"] == pytest.approx(1 / 5)
    assert [one.id for one in read_predictions(out)] == [f"q{i}" for i in range(1, 6)]
    assert evaluate(Knowing({}), questions, questions.parent, out, resume=True) == found


def test_only_questions_without_known_sql_give_no_accuracy(questions: Path) -> None:
    line = {"id": 1, "question": "how many", "sql": None, "db_id": "shop"}
    questions.write_text(json.dumps(line))
    found = evaluate(Knowing(ANSWERS), questions, questions.parent, questions.parent / "out.jsonl")
    assert (found["n"], found["accuracy"], found["without_known_sql"]) == (0, None, 1)


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("half \ud800 of a pair", "surrogate"),
        ("x" * 5_000, "5,000 characters"),
        ("a\x00b", "NUL"),
        ("unheard of", "KeyError"),
    ],
)
def test_a_question_that_cannot_be_asked_gets_a_line_and_the_others_theirs(
    questions: Path, question: str, said: str
) -> None:
    line = {"id": "bad", "question": question, "sql": "SELECT 1", "db_id": "shop"}
    questions.write_text(json.dumps(line) + "\n" + questions.read_text())
    out = questions.parent / "out.jsonl"
    found = evaluate(Knowing(ANSWERS), questions, questions.parent, out)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert said in lines[0]["error"]
    assert [line["correct"] for line in lines] == [False, *(right for _, _, right in GOLD)]
    assert found["n"] == 7


def test_a_broken_line_is_named_and_nothing_is_asked(questions: Path) -> None:
    questions.write_text(questions.read_text() + "{not json\n")
    knowing = Knowing(ANSWERS)
    with pytest.raises(EvaluationError, match="line 7"):
        evaluate(knowing, questions, questions.parent, questions.parent / "out.jsonl")
    assert knowing.asked == []


def test_a_missing_database_is_named_before_anything_is_asked(questions: Path) -> None:
    knowing = Knowing(ANSWERS)
    with pytest.raises(DatabaseUnavailable, match=r"shop\.sqlite"):
        evaluate(knowing, questions, questions.parent / "nowhere", questions.parent / "out.jsonl")
    assert knowing.asked == []


def test_a_db_id_cannot_leave_its_folder(questions: Path) -> None:
    questions.write_text(questions.read_text().replace('"shop"', '"../shop"'))
    with pytest.raises(EvaluationError, match="plain name"):
        evaluate(Knowing(ANSWERS), questions, questions.parent, questions.parent / "out.jsonl")


def test_a_calibration_is_fitted_on_predictions_and_saved(tmp_path: Path) -> None:
    predictions, out = tmp_path / "p.jsonl", tmp_path / "fusion.json"
    lines = []
    for i in range(60):
        signals = [{"name": "likelihood", "value": (i % 3) / 3 + 0.1, "ms": 1.0, "note": ""}]
        judged = Judged(str(i), "SELECT 1", 0.5, signals, i % 3 > 0, f"d{i % 4}", False, None)
        lines.append(judged.line())
    predictions.write_text("".join(lines))
    found = calibrate([predictions], out)
    assert found["n"] == 60
    assert out.exists()


def test_too_little_to_calibrate_on_is_said(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text("")
    with pytest.raises(EvaluationError, match="too few"):
        calibrate([tmp_path / "p.jsonl"], tmp_path / "fusion.json")


def test_a_broken_predictions_file_is_named_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('{"id": "x"}\n')
    with pytest.raises(EvaluationError, match="line 1"):
        read_predictions(tmp_path / "p.jsonl")
