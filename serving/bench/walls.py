"""What the walls keep out, and what they keep out that they should not.

Hostile statements of the three databases, each behind both walls and behind each alone, and mutations of them, 100,000 in all
unless SURESQL_MUTATIONS says otherwise: breaches are counted by what is there afterwards (`siege`). Then known SQL, which should
pass both walls: the demo's, and with SURESQL_DATA Spider's and WikiSQL's.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterable
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

from corpus.demo import build_demo_database
from corpus.demo_questions import SPLITS, demo_questions
from corpus.spider import read_examples

from ..databases import Database
from ..errors import BadSql, GuardError, ServingError
from ..settings import Settings
from .cluster import binaries, cluster
from .hostile import mutations, statements
from .siege import Walls, peak_mb, siege

_WAYS: dict[Walls, float] = {"both": 0.5, "guard": 0.3, "database": 0.2}
"""Shares of the mutations; one that a database has to stop takes its time limit."""
_TIMEOUT_S = 0.1
_A_SPLIT = 400
_WIKISQL_EVERY = 25


def run(settings: Settings) -> dict[str, Any]:
    return {
        "hostile": hostile(int(os.environ.get("SURESQL_MUTATIONS", "100000"))),
        "known": known(settings.data),
    }


def hostile(count: int, only: str | None = None) -> dict[str, Any]:
    """Breaches and what was asked, by database, or of one; `count` mutations, shared out among databases and ways."""
    here = [name for name in ("sqlite", "duckdb", "postgres") if name != "postgres" or binaries() is not None]
    dialects = here if only is None else [only]
    figures: dict[str, Any] = {}
    running = cluster() if "postgres" in dialects else nullcontext()
    with tempfile.TemporaryDirectory() as name, running as server:
        Path(name).chmod(0o755)
        for number, dialect in enumerate(dialects):
            with siege(dialect, Path(name), server, _TIMEOUT_S) as made:
                for seed, (walls, share) in enumerate(_WAYS.items()):
                    each = round(count * share / len(dialects))
                    made.attack(statements(dialect), walls)
                    made.attack(mutations(statements(dialect), each, 10 * number + seed), walls)
                report = made.report
            figures[dialect] = {
                "asked": dict(report.asked),
                "answered": dict(report.passed),
                "breaches": len(report.breaches),
                "slowest_s": round(report.slowest_s, 2),
                "examples": report.breaches[:10],
            }
    return {**figures, "peak_mb": peak_mb()}


def known(data: Path | None) -> dict[str, Any]:
    """The share of known SQL that passes both walls, and some that does not."""
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        demo = Path(name) / "demo.sqlite"
        build_demo_database(demo)
        asked = {one.sql for split in SPLITS for one in demo_questions(_A_SPLIT, 0, split, demo) if one.sql}
        figures["demo"] = _passing((sql, Database("demo", demo)) for sql in sorted(asked))
        if data is None:
            return figures
        for split in ("dev", "train"):
            folder = data / "spider" / "databases"
            databases: dict[str, Database] = {}
            pairs = []
            for example in read_examples(data / "spider" / f"{split}.jsonl"):
                path = folder / f"{example.db_id}.sqlite"
                if example.sql and path.exists():
                    pairs.append(
                        (example.sql, databases.setdefault(example.db_id, Database(example.db_id, path)))
                    )
            figures[f"spider {split}"] = _passing(pairs)
        figures["wikisql sample"] = _passing(_wikisql(data / "wikisql" / "dev.jsonl", Path(name)))
    return figures


def _wikisql(file: Path, folder: Path) -> list[tuple[str, Database]]:
    pairs = []
    for i, example in enumerate(read_examples(file)):
        ddl = getattr(example, "ddl", None)
        if i % _WIKISQL_EVERY or not example.sql or not ddl:
            continue
        path = folder / f"wikisql{i}.sqlite"
        with closing(sqlite3.connect(path)) as made:
            made.executescript(ddl)
        pairs.append((example.sql, Database("wikisql", path)))
    return pairs


def _passing(pairs: Iterable[tuple[str, Database]]) -> dict[str, Any]:
    asked, unknown, refused = 0, 0, []
    for sql, database in pairs:
        try:
            database.execute_known(f"SELECT * FROM ({sql.rstrip(';')}) LIMIT 0")
        except BadSql:
            unknown += 1  # SQLite itself has no sense of it, on this database
            continue
        except ServingError:
            continue
        asked += 1
        try:
            database.compiles(sql)
        except (GuardError, BadSql) as error:
            refused.append(f"{error.message} {sql[:200]}")
    return {
        "statements": asked,
        "share_that_passes": (asked - len(refused)) / asked if asked else None,
        "not_sql_here": unknown,
        "refused": refused[:10],
    }
