"""How often the pipeline is right, and how well its confidence knows it, on questions with known SQL."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus.compare import is_ordered, same_answer
from corpus.errors import CorpusError
from corpus.spider import Example, read_examples
from sqlconf.metrics import auroc, report

from .databases import Database
from .errors import BadSql, EvaluationError, GuardError, ServingError
from .execution import execute
from .guard import check
from .pipeline import AskResult, Pipeline

MAX_ROWS = 100_000  # of a gold answer; one that is longer is compared as far as it goes
MAX_BYTES = 64 * 2**20
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Judged:
    """One line of predictions: what was answered, and whether it gave what the known SQL gives."""

    id: str
    sql: str
    confidence: float
    signals: list[dict[str, Any]]
    correct: bool
    db_id: str
    abstain: bool
    error: str | None

    def line(self) -> str:
        return json.dumps(vars(self), ensure_ascii=True) + "\n"


def evaluate(
    pipeline: Pipeline,
    examples: str | Path,
    db_root: str | Path,
    predictions: str | Path,
    *,
    progress: Progress | None = None,
    batch: int = 16,
    limit: int | None = None,
    timeout_s: float = 5.0,
) -> dict[str, Any]:
    """Answer each question of a JSON-lines file on `db_root/<db_id>.sqlite`; returns the metrics.

    What `predictions` already holds is kept and not asked again, so a run that was cut short goes on.
    Raises EvaluationError for files that cannot be used.
    """
    try:
        todo = read_examples(examples)[:limit]
    except CorpusError as error:
        raise EvaluationError(str(error)) from error
    databases = _databases(todo, Path(db_root))
    out = Path(predictions)
    done = _resume(out, todo)
    rest = [example for example in todo if example.id not in done]
    if progress:
        progress(len(done), len(todo))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with out.open("a", encoding="utf-8") as file:
            for start in range(0, len(rest), batch):
                for judged in _judge(pipeline, rest[start : start + batch], databases, timeout_s):
                    file.write(judged.line())
                    done[judged.id] = judged
                file.flush()
                os.fsync(file.fileno())
                if progress:
                    progress(len(done), len(todo))
    except OSError as error:
        raise EvaluationError(
            f"{out} cannot be written: {error.strerror}.", "Is there room, and may you?"
        ) from error
    return metrics([done[example.id] for example in todo])


def metrics(judged: Sequence[Judged]) -> dict[str, Any]:
    """The fusion's report over all lines, and each signal's AUROC over those that it could measure."""
    found = report([one.confidence for one in judged], [one.correct for one in judged])
    names = list(dict.fromkeys(signal["name"] for one in judged for signal in one.signals))
    signals = {}
    for name in names:
        pairs = [
            (signal["value"], one.correct)
            for one in judged
            for signal in one.signals
            if signal["name"] == name and signal["value"] is not None
        ]
        score = auroc([value for value, _ in pairs], [correct for _, correct in pairs])
        signals[name] = {"auroc": score.value, "measured": len(pairs), "reason": score.reason}
    answered = [one for one in judged if not one.abstain]
    return {
        **found,
        "signals": signals,
        "answered": len(answered),
        "accuracy_answered": sum(one.correct for one in answered) / len(answered) if answered else None,
        "without_sql": sum(not one.sql for one in judged),
    }


def read_predictions(path: str | Path) -> list[Judged]:
    """The lines of a predictions file. Raises EvaluationError with the number of the first broken one."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
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


def _resume(path: Path, todo: Sequence[Example]) -> dict[str, Judged]:
    """What was judged before; a last line that was cut short is cut off."""
    ids = {example.id for example in todo}
    if len(ids) != len(todo):
        raise EvaluationError("Two examples have the same id.", "Give each line an id of its own.")
    if not path.exists():
        return {}
    raw = path.read_bytes()
    whole = raw[: raw.rfind(b"\n") + 1]
    if whole != raw:
        path.write_bytes(whole)
    done = {one.id: one for one in read_predictions(path)}
    if not done.keys() <= ids:
        raise EvaluationError(
            f"{path} holds predictions for other questions.", "Remove it, or name another file."
        )
    return done


def _databases(examples: Iterable[Example], root: Path) -> dict[str, Database]:
    """Each database that is asked for, its schema read: a missing one is known before any work."""
    found: dict[str, Database] = {}
    for name in dict.fromkeys(example.db_id for example in examples):
        if Path(name).name != name:
            raise EvaluationError(
                f"The db_id {name!r} is no plain name.", "Databases are DB_ROOT/<db_id>.sqlite."
            )
        found[name] = Database(name, root / f"{name}.sqlite")
        found[name].schema()
    return found


def _judge(
    pipeline: Pipeline, examples: Sequence[Example], databases: dict[str, Database], timeout_s: float
) -> list[Judged]:
    answers = _ask([(example.question, databases[example.db_id]) for example in examples], pipeline)
    judged = []
    for example, answer in zip(examples, answers, strict=True):
        if isinstance(answer, ServingError):
            judged.append(Judged(example.id, "", 0.0, [], False, example.db_id, True, answer.message))
            continue
        correct, error = _right(example, answer.sql, databases[example.db_id].path, timeout_s)
        signals = [
            {"name": s.name, "value": s.value, "ms": round(s.ms, 2), "note": s.note} for s in answer.signals
        ]
        judged.append(
            Judged(
                example.id, answer.sql, answer.confidence, signals, correct, example.db_id, answer.abstain,
                answer.error or error,
            )
        )  # fmt: skip
    return judged


def _ask(questions: Sequence[tuple[str, Database]], pipeline: Pipeline) -> list[AskResult | ServingError]:
    """The batch, or, where one of it cannot be answered, each by itself."""
    try:
        return list(pipeline.ask(questions))
    except ServingError as error:
        if len(questions) == 1:
            return [error]
        return [found for question in questions for found in _ask([question], pipeline)]


def _right(example: Example, sql: str, path: Path, timeout_s: float) -> tuple[bool, str | None]:
    """Whether `sql` gives the rows of the known SQL (never, if there is none), and why it did not run."""
    limits: dict[str, Any] = {"max_rows": MAX_ROWS, "max_bytes": MAX_BYTES, "timeout_s": timeout_s}
    gold_sql = example.sql
    if not sql or gold_sql is None:
        return False, None
    try:
        gold = execute(path, gold_sql, **limits)
    except BadSql as error:
        return False, f"the known SQL does not run: {error.message}"
    try:
        check(sql)
        predicted = execute(path, sql, **limits)
    except (BadSql, GuardError) as error:
        return False, error.message
    return same_answer(gold.rows, predicted.rows, ordered=is_ordered(gold_sql)), None
