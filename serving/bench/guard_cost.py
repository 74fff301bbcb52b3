"""What the walls cost on the demo: the guard; and opening, compiling and reading one row."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from corpus.demo import build_demo_database

from ..execution import execute
from ..guard import check
from ..settings import Settings

_SQL = (
    "SELECT name FROM suppliers WHERE country = 'Germany' AND name IN (SELECT name FROM suppliers"
    " GROUP BY name HAVING count(*) = 1) ORDER BY name LIMIT 1"
)
REPEATS = 200


def run(settings: Settings) -> dict[str, Any]:
    """Median microseconds of each wall on one statement."""
    with tempfile.TemporaryDirectory() as folder:
        path = build_demo_database(Path(folder) / "demo.sqlite")
        return {
            "guard_us": _median_us(lambda: check(_SQL)),
            "execute_us": _median_us(lambda: execute(path, _SQL, timeout_s=settings.sql_timeout_s)),
        }


def _median_us(work: Callable[[], object]) -> float:
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return round(statistics.median(times) * 1e6, 1)
