"""Spider's dev questions on their own databases, and on the same among the tables of others, a thousand in all.

Distractors are the tables of Spider's and the other data sets' databases whose names are not taken, with some of their rows, and
then WikiSQL's tables without rows. Names mean much the same in both worlds, but not always: where another database has a
table `players` too, a question about players is harder than it was.
"""

from __future__ import annotations

import json
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from corpus.distractors import put_among
from corpus.errors import CorpusError
from corpus.references import ask
from corpus.spider import Example, read_examples

from ..assembly import load_pipeline
from ..databases import Database
from ..errors import EvaluationError
from ..evaluation import evaluate
from ..settings import Settings

QUESTIONS, TABLES, SEED = 200, 1_000, 1


def run(settings: Settings) -> dict[str, Any]:
    """Accuracies of both, and times."""
    if settings.data is None:
        raise EvaluationError("SURESQL_DATA is not set.", "Set it to the folder of the data sets.")
    try:
        return _run(settings, settings.data)
    except (CorpusError, OSError) as error:
        raise EvaluationError(
            f"The data cannot be used: {error}", "SURESQL_DATA names its folder."
        ) from error


def _run(settings: Settings, data: Path) -> dict[str, Any]:
    examples = read_examples(data / "spider" / "dev.jsonl")
    chosen = random.Random(SEED).sample(examples, min(QUESTIONS, len(examples)))
    names = sorted({one.db_id for one in chosen})
    own = data / "spider" / "databases"
    pipeline = load_pipeline(settings)
    with tempfile.TemporaryDirectory() as folder:
        among = Path(folder)
        bare = list(
            dict.fromkeys(one.ddl for one in read_examples(data / "wikisql" / "dev.jsonl") if one.ddl)
        )
        tables = {name: _merge(data, name, among, bare) for name in names}
        file = among / "questions.jsonl"
        fields = ("id", "question", "sql", "db_id")
        file.write_text("".join(json.dumps({f: getattr(e, f) for f in fields}) + "\n" for e in chosen))
        alone = evaluate(pipeline, file, own, among / "alone.predictions")
        crowded = evaluate(pipeline, file, among, among / "crowded.predictions")
        times = _times(chosen, among, getattr(pipeline, "near", None))
        seconds = _seconds(chosen[:40], pipeline, own), _seconds(chosen[:40], pipeline, among)
    return {
        "questions": len(chosen),
        "tables": [min(tables.values()), max(tables.values())],
        "accuracy_alone": alone["accuracy"],
        "accuracy_among_distractors": crowded["accuracy"],
        "without_sql": [alone["without_sql"], crowded["without_sql"]],
        **times,
        "seconds_a_question_alone": seconds[0],
        "seconds_a_question_among_distractors": seconds[1],
    }


def _merge(data: Path, name: str, folder: Path, bare: Sequence[str]) -> int:
    own = data / "spider" / "databases" / f"{name}.sqlite"
    others = [path for path in sorted(own.parent.glob("*.sqlite")) if path != own]
    random.Random(name).shuffle(others)
    for more in ("demo_dbs", "ehrsql_2024"):
        others += sorted((data / more / "databases").glob("*.sqlite"))
    return put_among(own, others, folder / own.name, TABLES, bare)


def _times(examples: Sequence[Example], folder: Path, near: Any) -> dict[str, Any]:
    """Of the prompt alone: the first question of a database, which builds what is kept, and further ones."""
    first: list[float] = []
    further: list[float] = []
    opened: dict[str, Database] = {}
    for one in examples:
        known = one.db_id in opened
        database = opened.setdefault(one.db_id, Database(one.db_id, folder / f"{one.db_id}.sqlite"))
        started = time.perf_counter()
        ask(one.question, database.schema(), database.contents(), near=near)
        (further if known else first).append(time.perf_counter() - started)
    return {
        "prompt_ms_first": round(statistics.median(first) * 1000, 1),
        "prompt_ms": round(statistics.median(further) * 1000, 1),
        "prompt_ms_worst": round(max(further) * 1000, 1),
    }


def _seconds(examples: Sequence[Example], pipeline: Any, folder: Path) -> float:
    """The median of single questions, answered one by one on databases that are open."""
    opened: dict[str, Database] = {}
    taken = []
    for one in examples:
        database = opened.setdefault(one.db_id, Database(one.db_id, folder / f"{one.db_id}.sqlite"))
        database.contents()
        started = time.perf_counter()
        pipeline.ask([(one.question, database)])
        taken.append(time.perf_counter() - started)
    return round(statistics.median(taken), 3)
