"""Which benchmarks there are. A new one is a file beside this with `run(settings)`, and a line below."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import EvaluationError
from ..settings import Settings


@dataclass(frozen=True)
class Benchmark:
    """A name, what it tells in a sentence, and the module that holds it (imported when it is run)."""

    name: str
    tells: str
    module: str


_BENCHMARKS = (
    Benchmark(
        "decode", "decode and prefill speed of the embedded engine, by batch size", "serving.bench.decode"
    ),
    Benchmark("demo", "execution accuracy and confidence on unseen demo questions", "serving.bench.demo"),
    Benchmark(
        "spider", "the same on 300 of Spider's dev questions; SURESQL_DATA says where", "serving.bench.spider"
    ),
    Benchmark(
        "promise",
        "how often a promised precision is missed; SURESQL_PREDICTIONS names judged predictions",
        "serving.bench.promise",
    ),
    Benchmark(
        "optimizer", "a step of MuonClip beside torch.optim.Muon's and its peers'", "serving.bench.optimizer"
    ),
    Benchmark(
        "model",
        "training speed beside transformers' DeepSeek-V3 with torch.optim.Muon",
        "serving.bench.model",
    ),
    Benchmark(
        "dialects",
        "the same rows on SQLite, PostgreSQL and DuckDB for known SQL; SURESQL_DATA adds Spider's dev",
        "serving.bench.dialects",
    ),
    Benchmark(
        "ranks", "memory and step time of one training process beside two, by layout", "serving.bench.ranks"
    ),
    Benchmark("kills", "kill -9 at random moments of a training run, and how it ends", "serving.bench.kills"),
    Benchmark("guard", "what the two walls cost on a statement", "serving.bench.guard_cost"),
)


def benchmarks() -> tuple[Benchmark, ...]:
    return _BENCHMARKS


def run(name: str, settings: Settings) -> dict[str, Any]:
    """The figures of one benchmark, with where, when and of what they were taken. Raises EvaluationError."""
    known = {one.name: one for one in _BENCHMARKS}
    if name not in known:
        raise EvaluationError(f"There is no benchmark {name!r}.", f"There are: {', '.join(known)}.")
    started = time.time()
    figures = import_module(known[name].module).run(settings)
    return {
        "benchmark": name,
        "figures": figures,
        "machine": {
            "platform": platform.platform(),
            "cpus": os.cpu_count(),
            "python": platform.python_version(),
        },
        "checkpoint": settings.checkpoint.name,
        "commit": _commit(),
        "date": time.strftime("%Y-%m-%d", time.gmtime(started)),
        "seconds": round(time.time() - started, 1),
    }


def _commit() -> str | None:
    try:
        found = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None
