"""What the walls cost on the demo: the guard, the translation, and running a statement in a process of its own."""

from __future__ import annotations

import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from corpus.demo import build_demo_database

from ..databases import Database
from ..execution import Place, execute
from ..guard import check
from ..settings import Settings
from ..translation import translate
from .copies import to_duckdb

_SQL = (
    "SELECT name FROM suppliers WHERE country = 'Germany' AND name IN (SELECT name FROM suppliers"
    " GROUP BY name HAVING count(*) = 1) ORDER BY name LIMIT 1"
)
REPEATS = 200


def run(settings: Settings) -> dict[str, Any]:
    """Median microseconds of each wall on one statement; `guard` is of a statement never seen, the next time it is remembered."""
    with tempfile.TemporaryDirectory() as folder:
        path = build_demo_database(Path(folder) / "demo.sqlite")
        database = Database("demo", path)
        known = database.reading()
        to_duckdb(path, Path(folder) / "demo.duckdb")
        copy = Place("duckdb", str(Path(folder) / "demo.duckdb"))
        native = translate(_SQL, "sqlite", "duckdb", known)
        return {
            "guard_us": _median_us(lambda: check(_SQL)),
            "guard_again_us": _median_us(lambda: database.translate(_SQL)),
            "guard_and_translate_us": {
                name: _median_us(lambda name=name: translate(_SQL, "sqlite", name, known))  # type: ignore[misc]
                for name in ("duckdb", "postgres")
            },
            "execute_us": _median_us(lambda: execute(path, _SQL, timeout_s=settings.sql_timeout_s)),
            "execute_duckdb_us": _median_us(lambda: execute(copy, native, timeout_s=settings.sql_timeout_s)),
            "plain_sqlite_us": _median_us(lambda: _plain(path)),
        }


def _plain(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(_SQL).fetchall()


def _median_us(work: Callable[[], object]) -> float:
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return round(statistics.median(times) * 1e6, 1)
