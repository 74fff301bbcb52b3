"""How often the pipeline is right, and how well its confidence knows it, on questions with known SQL."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO

from corpus.compare import is_ordered, same_answer
from corpus.errors import CorpusError
from corpus.spider import Example, read_examples
from sqlconf.metrics import auroc, report

from .breakdown import Case, breakdown
from .databases import Database
from .errors import EvaluationError, ServingError
from .pipeline import AskResult, Pipeline
from .predictions import Judged, as_lines, resumed
from .question import check_question

log = logging.getLogger(__name__)
MAX_ROWS = 100_000  # of a gold answer; one that is longer is compared as far as it goes
MAX_BYTES = 64 * 2**20
_KNOWN_SQL_FAILS = "the known SQL does not run"  # how the error of such a line begins, in files of before too
Progress = Callable[[int, int], None]


def evaluate(
    pipeline: Pipeline,
    examples: str | Path,
    db_root: str | Path,
    predictions: str | Path,
    *,
    resume: bool = False,
    progress: Progress | None = None,
    batch: int = 16,
    limit: int | None = None,
    timeout_s: float = 5.0,
) -> dict[str, Any]:
    """Answer each question of a JSON-lines file on `db_root/<db_id>.sqlite`; returns the metrics.

    `predictions` is written afresh, or, with `resume`, what it holds is kept and not asked again. A question
    that cannot be answered gets a line with the error. Raises EvaluationError for files that cannot be used.
    """
    try:
        known = read_examples(examples, answers_required=False)
    except CorpusError as error:
        raise EvaluationError(str(error)) from error
    ids = {example.id for example in known}
    if len(ids) != len(known):
        raise EvaluationError("Two examples have the same id.", "Give each line an id of its own.")
    todo = known[:limit]
    databases = _databases(todo, Path(db_root))
    out = Path(predictions)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        done = resumed(out, known) if resume else {}
        rest = [example for example in todo if example.id not in done]
        with out.open("a" if resume else "w", encoding="utf-8") as file:
            for start in range(0, len(rest), batch):
                if progress:
                    progress(len(todo) - len(rest) + start, len(todo))
                some = rest[start : start + batch]
                for example, judged in zip(some, _judge(pipeline, some, databases, timeout_s), strict=True):
                    file.write(judged.line())
                    done[example.id] = judged
                _sync(file)
        if progress:
            progress(len(todo), len(todo))
    except OSError as error:
        raise EvaluationError(
            f"{out} cannot be written: {error.strerror}.",
            "Name a file with --predictions that you may write, where there is room.",
        ) from error
    answers = [done[example.id] for example in todo]
    return metrics(answers, _cases(todo, answers, databases))


def metrics(judged: Sequence[Judged], cases: Sequence[Case] | None = None) -> dict[str, Any]:
    """The fusion's report over all lines whose right SQL is known, and each signal's AUROC over those that it
    could measure; of `cases`, which hold the known SQL, accuracy by hardness and database and the errors by kind.
    """
    known = [one for one in judged if one.correct is not None]
    found = report([one.confidence for one in known], [bool(one.correct) for one in known])
    names = list(dict.fromkeys(signal["name"] for one in known for signal in one.signals))
    signals = {}
    for name in names:
        pairs = [
            (signal["value"], bool(one.correct))
            for one in known
            for signal in one.signals
            if signal["name"] == name and signal["value"] is not None
        ]
        score = auroc([value for value, _ in pairs], [correct for _, correct in pairs])
        signals[name] = {"auroc": score.value, "measured": len(pairs), "reason": score.reason}
    answered = [one for one in known if not one.abstain]
    right = sum(bool(one.correct) for one in answered)
    return {
        **found,
        "signals": signals,
        "answered": len(answered),
        "accuracy_answered": right / len(answered) if answered else None,
        "without_sql": sum(not one.sql for one in known),
        "without_known_sql": len(judged) - len(known),
        **({} if cases is None else breakdown(cases)),
    }


def _cases(
    examples: Sequence[Example], judged: Sequence[Judged], databases: dict[str, Database]
) -> list[Case]:
    """The lines whose right SQL is known, each beside it."""
    schemas = {name: database.schema() for name, database in databases.items()}
    return [
        Case(
            db_id=example.db_id,
            schema=schemas[example.db_id],
            known=example.sql,
            predicted=one.sql,
            correct=one.correct,
            runs=one.error is None,
            known_runs=not (one.error or "").startswith(_KNOWN_SQL_FAILS),
        )
        for example, one in zip(examples, judged, strict=True)
        if example.sql is not None and one.correct is not None
    ]


def _sync(file: TextIO) -> None:
    """What was written is on the disk, where there is one: a pipe or /dev/null has none."""
    file.flush()
    try:
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


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
    pipeline: Pipeline,
    examples: Sequence[Example],
    databases: dict[str, Database],
    timeout_s: float,
) -> list[Judged]:
    answers = _ask([(example.question, databases[example.db_id]) for example in examples], pipeline)
    return [
        _judge_one(example, answer, databases[example.db_id], timeout_s)
        for example, answer in zip(examples, answers, strict=True)
    ]


def _judge_one(
    example: Example, answer: AskResult | ServingError, database: Database, timeout_s: float
) -> Judged:
    known = example.sql is not None
    raw_id = getattr(example, "raw_id", None)
    name = example.id if raw_id is None else raw_id
    if isinstance(answer, ServingError):
        correct = False if known else None
        return Judged(name, "", 0.0, [], correct, example.db_id, True, answer.message, example.question)
    right, error = _right(example, answer.sql, database, timeout_s)
    asked = answer.answer
    return Judged(
        name, answer.sql, answer.confidence, as_lines(answer.signals), right if known else None, example.db_id, answer.abstain,
        answer.error or error, example.question, [round(one, 5) for one in asked.token_logprobs] if asked else [],
        [vars(one) for one in asked.candidates] if asked else [], round(answer.ms, 2), round(answer.generation_ms, 2),
        answer.database,
    )  # fmt: skip


def _ask(questions: Sequence[tuple[str, Database]], pipeline: Pipeline) -> list[AskResult | ServingError]:
    """The batch, or, where one of it cannot be answered, each by itself."""
    try:
        for text, _ in questions:
            check_question(text)
        return list(pipeline.ask(questions))
    except Exception as error:  # whatever one question meets, the others are still asked
        if len(questions) > 1:
            return [found for question in questions for found in _ask([question], pipeline)]
        if isinstance(error, ServingError):
            return [error]
        log.exception("a question could not be answered")
        return [EvaluationError(f"The question could not be answered: {type(error).__name__}: {error}")]


def _right(example: Example, sql: str, database: Database, timeout_s: float) -> tuple[bool, str | None]:
    """Whether `sql` gives the rows of the known SQL (never, if there is none), and why it did not run."""
    limits: dict[str, Any] = {"max_rows": MAX_ROWS, "max_bytes": MAX_BYTES, "timeout_s": timeout_s}
    gold_sql = example.sql
    if not sql or gold_sql is None:
        return False, None
    try:
        gold = database.execute_known(gold_sql, **limits)
        ordered = is_ordered(gold_sql)
    except (ServingError, RecursionError) as error:
        return False, f"{_KNOWN_SQL_FAILS}: {error}"
    try:
        predicted = database.execute(sql, **limits)
    except ServingError as error:
        return False, error.message
    return same_answer(gold.rows, predicted.rows, ordered=ordered), None
