"""The file of predictions that `suresql eval` writes, a line of JSON an answer, and what reads it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corpus.spider import Example
from sqlconf.signal import Reading

from .errors import EvaluationError


@dataclass(frozen=True)
class Judged:
    """One line of predictions: what was answered, and whether it gave what the known SQL gives.

    `id` is as the file of questions has it; `correct` is None where no SQL is known.
    """

    id: object
    sql: str
    confidence: float
    signals: list[dict[str, Any]]
    correct: bool | None
    db_id: str
    abstain: bool
    error: str | None
    question: str = ""
    token_logprobs: list[float] = field(default_factory=list)
    """Of `sql` as the model wrote it, before any mask."""
    candidates: list[dict[str, Any]] = field(default_factory=list)
    """All statements considered, as sqlconf's Candidate has them."""
    ms: float = 0.0
    generation_ms: float = 0.0
    database: str = ""
    """The key of the database's schema (`serving.database_key`)."""

    def line(self) -> str:
        return json.dumps(vars(self), ensure_ascii=True) + "\n"


def as_lines(signals: Sequence[Reading]) -> list[dict[str, Any]]:
    """Readings as a line of predictions holds them."""
    return [{**vars(one), "ms": round(one.ms, 2)} for one in signals]


def read_predictions(path: str | Path) -> list[Judged]:
    """The lines of a predictions file whose right SQL was known. Raises EvaluationError with the number of
    the first broken one.
    """
    return [one for one in _lines(path) if one.correct is not None]


def resumed(path: Path, examples: Sequence[Example]) -> dict[str, Judged]:
    """What was judged before; a last line that was cut short is cut off. Raises EvaluationError for other questions'."""
    if not path.is_file():
        return {}
    raw = path.read_bytes()
    whole = raw[: raw.rfind(b"\n") + 1]
    if whole != raw:
        path.write_bytes(whole)
    done = {str(one.id): one for one in _lines(path)}
    asked = {example.id: (example.question, example.db_id) for example in examples}
    if any(asked.get(name) != (one.question, one.db_id) for name, one in done.items()):
        raise EvaluationError(
            f"{path} holds predictions for other questions.", "Run without --resume, or name another file."
        )
    return done


def _lines(path: str | Path) -> list[Judged]:
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeError) as error:
        raise EvaluationError(f"{path} cannot be read: {error}.", "Make it with suresql eval.") from error
    return [
        _judged(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1) if line.strip()
    ]


def _judged(line: str, where: str) -> Judged:
    try:
        return Judged(**json.loads(line))
    except (ValueError, TypeError) as error:
        raise EvaluationError(
            f"{where}: not a line of predictions ({error}).", "Remove the file, or the line, and run again."
        ) from error
