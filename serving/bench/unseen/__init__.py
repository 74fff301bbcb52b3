"""Questions of two independent authors, one for each part, on databases that training never saw, as people put them.

Of each database a file NAME-development.jsonl, read while working, or NAME-test.jsonl, which nobody reads; the databases are
NAME.sql beside it, or, of Northwind and Chinook, among the data sets (SURESQL_DATA), without which their questions are
left out. Chinook is not unseen, as Spider's training part has its tables: its questions are a part of their own, `seen`.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from ...assembly import load_pipeline
from ...errors import EvaluationError
from ...evaluation import evaluate
from ...pipeline import Pipeline
from ...predictions import read_predictions
from ...settings import Settings

FOLDER = Path(__file__).parent
PARTS = ("development", "test")
SEEN = frozenset(["chinook"])
"""Databases whose tables training has, under whatever name: of Spider's, chinook_1 and store_1 are Chinook."""


def run(settings: Settings) -> dict[str, Any]:
    """The metrics of `suresql eval` on each part, and on databases that training has seen, with the share answered rightly
    by the authors' own levels.
    """
    pipeline = load_pipeline(settings)
    parts = {part: [one for one in questions(part) if one["db_id"] not in SEEN] for part in PARTS}
    parts["seen"] = [one for part in PARTS for one in questions(part) if one["db_id"] in SEEN]
    found = {part: _measured(pipeline, lines, settings.data) for part, lines in parts.items()}
    if not any(found.values()):
        raise EvaluationError(
            "None of the databases is here.", "Set SURESQL_DATA to the folder of the data sets."
        )
    return {part: metrics for part, metrics in found.items() if metrics}


def questions(part: str) -> Iterator[dict[str, str]]:
    """Lines of all files of a part: id, question, sql, db_id, hardness."""
    for file in sorted(FOLDER.glob(f"*-{part}.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            yield json.loads(line)


def build(name: str, into: Path, data: Path | None) -> bool:
    """Put the database `name` at `into`/NAME.sqlite; False where it is among data sets that are not here."""
    script, target = FOLDER / f"{name}.sql", into / f"{name}.sqlite"
    if script.exists():
        with closing(sqlite3.connect(target)) as connection:
            connection.executescript(script.read_text(encoding="utf-8"))
        return True
    source = None if data is None else data / "demo_dbs" / "databases" / f"{name}.sqlite"
    if source is None or not source.exists():
        return False
    shutil.copyfile(source, target)
    return True


def _measured(pipeline: Pipeline, lines: list[dict[str, str]], data: Path | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        here = {db_id for db_id in {one["db_id"] for one in lines} if build(db_id, folder, data)}
        asked = [one for one in lines if one["db_id"] in here]
        if not asked:
            return {}
        file, out = folder / "questions.jsonl", folder / "predictions.jsonl"
        file.write_text("".join(json.dumps(one) + "\n" for one in asked), encoding="utf-8")
        metrics = evaluate(pipeline, file, folder, out)
        right = {str(one.id): bool(one.correct) for one in read_predictions(out)}
    levels: dict[str, list[bool]] = defaultdict(list)
    for one in asked:
        levels[one["hardness"]].append(right.get(one["id"], False))
    shares = {level: {"n": len(some), "accuracy": sum(some) / len(some)} for level, some in levels.items()}
    return {**metrics, "by_author_level": shares, "databases": sorted(here)}
