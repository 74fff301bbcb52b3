"""An evaluation writes a line for each question, goes on where it was cut short, and counts what is right."""

import json
from pathlib import Path

import pytest

from serving.calibration import calibrate
from serving.databases import Database
from serving.errors import DatabaseUnavailable, EvaluationError
from serving.evaluation import Judged, evaluate, read_predictions
from serving.pipeline import AskResult
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
    assert evaluate(knowing, questions, questions.parent, part) == expected
    assert part.read_text() == whole.read_text()
    assert knowing.asked == [question for question, _, _ in GOLD[2:]]


def test_predictions_of_other_questions_are_not_taken_for_these(questions: Path) -> None:
    out = questions.parent / "out.jsonl"
    evaluate(Knowing(ANSWERS), questions, questions.parent, out)
    questions.write_text(questions.read_text().replace('"q0"', '"other"'))
    with pytest.raises(EvaluationError, match="other questions"):
        evaluate(Knowing(ANSWERS), questions, questions.parent, out)


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
