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
from .experiment import DEFAULT_OUT, Experiment


@dataclass(frozen=True)
class Benchmark:
    """A name, what it tells in a sentence, and the module that holds it (imported when it is run)."""

    name: str
    tells: str
    module: str
    experiment: bool = False
    """Whether it runs long, resumes, and draws: then its `run` takes an `Experiment` too."""


_BENCHMARKS = (
    Benchmark(
        "decode", "decode and prefill speed of the embedded engine, by batch size", "serving.bench.decode"
    ),
    Benchmark("demo", "execution accuracy and confidence on unseen demo questions", "serving.bench.demo"),
    Benchmark(
        "spider", "the same on 300 of Spider's dev questions; SURESQL_DATA says where", "serving.bench.spider"
    ),
    Benchmark(
        "unseen",
        "the same on an independent author's questions on databases of other makers; SURESQL_DATA adds two",
        "serving.bench.unseen",
    ),
    Benchmark(
        "promise",
        "how often a promised precision is missed; SURESQL_PREDICTIONS names judged predictions",
        "serving.bench.promise",
    ),
    Benchmark(
        "confidence",
        "the confidence beside its signals, uqlm and lm-polygraph; SURESQL_DATA, SURESQL_PEERS_PYTHON",
        "serving.bench.confidence",
    ),
    Benchmark(
        "filters",
        "a ChainedFilter of a database's values beside a set and a Bloom filter; SURESQL_DATA says where, else the demo's",
        "serving.bench.filters",
    ),
    Benchmark(
        "optimizer", "a step of MuonClip beside torch.optim.Muon's and its peers'", "serving.bench.optimizer"
    ),
    Benchmark(
        "grammar",
        "the share of training queries that the grammar takes (SURESQL_DATA says where), and its cost",
        "serving.bench.grammar",
    ),
    Benchmark(
        "linking",
        "Spider's dev questions with and without 1,000 tables around; SURESQL_DATA says where",
        "serving.bench.linking",
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
    Benchmark(
        "gateway",
        "CPU and throughput of the gateway, beside LiteLLM and vllm-router; SURESQL_PEERS names their environment",
        "serving.bench.gateway",
    ),
    Benchmark(
        "gateway-growth",
        "CPU of the gateway as prompts, keys and replicas grow, and its figure",
        "serving.bench.gateway_growth",
        experiment=True,
    ),
    Benchmark(
        "classes",
        "short requests behind long ones, by the order of the queue: simulated and on the embedded engine",
        "serving.bench.classes",
    ),
    Benchmark(
        "walls",
        "hostile statements and 100,000 mutations of them, by what they leave behind; known SQL refused",
        "serving.bench.walls",
    ),
    Benchmark(
        "experts",
        "the cost of a layer by its number of experts; SURESQL_BENCH_PLOT names a figure to draw",
        "serving.bench.experts",
    ),
    Benchmark(
        "load",
        "one tenant flooding beside another, and overload at four times what the engine can",
        "serving.bench.load",
    ),
    Benchmark(
        "soak",
        "kill -9 of engines, Redis and PostgreSQL at random under load: how requests end, and do the ledgers agree",
        "serving.bench.soak",
    ),
    Benchmark(
        "restart",
        "two gateways and two engines restarted one after another under load: does any request fail",
        "serving.bench.restart",
    ),
    Benchmark(
        "gone",
        "how long after its client left an engine's place is free, vLLM's too where it is installed",
        "serving.bench.gone",
    ),
    Benchmark(
        "ledger",
        "sketches of calls subtracted beside a join of the tables: bytes, CPU, exactness",
        "serving.bench.ledger",
    ),
    Benchmark(
        "words",
        "does SQL put back into words tell right from wrong; SURESQL_DATA says where Spider's dev is",
        "serving.bench.words",
    ),
    Benchmark(
        "scaling",
        "trains three sizes on three budgets and fits a law; SURESQL_DATA, and SURESQL_PREDICTIONS for the runs",
        "serving.bench.scaling",
    ),
    Benchmark("guard", "what the two walls cost on a statement", "serving.bench.guard_cost"),
    Benchmark(
        "stability",
        "attention logits and loss under AdamW, Muon and MuonClip where logits explode",
        "serving.bench.stability",
        experiment=True,
    ),
    Benchmark(
        "tokens",
        "tokens that MuonClip needs to reach tuned AdamW's loss on real text",
        "serving.bench.tokens_to_loss",
        experiment=True,
    ),
)


def benchmarks() -> tuple[Benchmark, ...]:
    return _BENCHMARKS


def run(name: str, settings: Settings, experiment: Experiment | None = None) -> dict[str, Any]:
    """The figures of one benchmark, with where, when and of what they were taken. Raises EvaluationError.

    `experiment` is for those that are experiments; by default they write into the working directory's `bench-out`.
    """
    known = {one.name: one for one in _BENCHMARKS}
    if name not in known:
        raise EvaluationError(f"There is no benchmark {name!r}.", f"There are: {', '.join(known)}.")
    if experiment is not None and not known[name].experiment:
        names = ", ".join(one.name for one in _BENCHMARKS if one.experiment)
        raise EvaluationError(
            f"The benchmark {name} takes no --out, --quick or --no-plots.", f"These do: {names}."
        )
    started = time.time()
    module = import_module(known[name].module)
    if known[name].experiment:
        figures = module.run(settings, experiment or Experiment(DEFAULT_OUT))
    else:
        figures = module.run(settings)
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
