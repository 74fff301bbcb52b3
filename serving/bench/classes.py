"""Short requests behind long ones: orders of the queue, measured on real requests to the embedded engine.

Most requests are the demo's questions, which the model ends by itself after some tokens; one in five is a completion that goes on
to its limit of 128 to 512. What is expected of each is what the gateway expects (`Durations`, which begins knowing nothing), or
what it went by before: the prompt's bytes over two and the limit. The queue is the gateway's own (`FairQueue`, one
tenant), the server is one engine that is not interrupted.

Time is the CPU time of this process, whose engine has one thread, so that others on the machine change little: an order is first
simulated over many arrivals with the recorded times, then run for real, each request generated again in the order's turn.
"""

from __future__ import annotations

import math
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from corpus import references
from corpus.demo_questions import demo_questions

from ..databases import Databases
from ..engines.embedded import EmbeddedEngine
from ..gateway.durations import Durations
from ..gateway.fair import FairQueue, Order
from ..gateway.front import BYTES_PER_TOKEN
from ..settings import Settings
from .queue_orders import TOKENS_PER_S, by_tokens, orders

TASKS, LONG_EVERY = 50, 5
SHORT_LIMITS, LONG_LIMITS = (48, 96, 160), (128, 256, 512)
LONG_PROMPTS = (
    "select the suppliers that ",
    "count the parts whose price ",
    "the average rating of ",
    "the ",
)
LOADS, SIMULATED, SEEDS = (0.7, 0.9), 2_000, 3
REAL_LOAD, REAL = 0.75, 150
REAL_ORDERS = (
    "first_come", "static_thresholds", "shortest_first", "self_tuning_clusters", "arrival_plus_16_times_expected",
)  # fmt: skip
BEFORE = "arrival_plus_tokens"


@dataclass(frozen=True)
class Task:
    """A request: what is sent, whether it is one of the long kind, what is expected of it, and what it took."""

    prompt: str
    limit: int
    temperature: float
    long: bool
    seconds: float = 0.0

    @property
    def tokens(self) -> int:
        """As the ledger reserves them."""
        return len(self.prompt.encode()) // BYTES_PER_TOKEN + self.limit


def run(settings: Settings) -> dict[str, Any]:
    """For each order, response times of short and of long requests in seconds of the engine's CPU; mean, p95 and p99."""
    engine = EmbeddedEngine(settings.checkpoint, threads=1)
    with tempfile.TemporaryDirectory() as folder:
        tasks = _tasks(Path(folder))
    _generate(engine, tasks[0])  # warm
    tasks = [Task(t.prompt, t.limit, t.temperature, t.long, _generate(engine, t)) for t in tasks]
    kinds = {
        "short": [t for t in tasks if not t.long],
        "long": [t for t in tasks if t.long],
    }
    figures: dict[str, Any] = {
        "requests": {
            kind: {
                "count": len(some),
                "seconds_median": round(statistics.median(t.seconds for t in some), 3),
                "seconds_most": round(max(t.seconds for t in some), 3),
            }
            for kind, some in kinds.items()
        },
        "rank_correlation_with_seconds": {
            "tokens": round(_correlation(tasks, [task.tokens for task in tasks]), 3),
            "durations": round(_correlation(tasks, _learned(tasks)), 3),
        },
        "simulated": {},
        "real": {},
    }
    for load in LOADS:
        figures["simulated"][f"load_{load}"] = {
            name: _told(
                [
                    one
                    for seed in range(SEEDS)
                    for one in _serve(make(), *_arrivals(tasks, load, SIMULATED, seed), name == BEFORE)
                ]
            )
            for name, make in {**orders(), BEFORE: lambda: by_tokens}.items()
        }
    drawn = _arrivals(tasks, REAL_LOAD, REAL, SEEDS)
    for name, make in {**{one: orders()[one] for one in REAL_ORDERS}, BEFORE: lambda: by_tokens}.items():
        figures["real"][name] = _told(
            _serve(make(), *drawn, name == BEFORE, lambda task: _generate(engine, task))
        )
    figures["real_load"] = REAL_LOAD
    return figures


def _tasks(home: Path) -> list[Task]:
    demo = Databases(home).get("demo")
    questions = demo_questions(TASKS, 1, "test", demo.path)
    rng = random.Random(1)
    found = []
    for number, one in enumerate(questions):
        if number % LONG_EVERY == 0:
            found.append(Task(rng.choice(LONG_PROMPTS), rng.choice(LONG_LIMITS), 1.0, True))
        else:
            prompt = references.ask(one.question, demo.schema(), demo.contents()).text
            found.append(Task(prompt, rng.choice(SHORT_LIMITS), 0.0, False))
    return found


def _generate(engine: EmbeddedEngine, task: Task) -> float:
    """Seconds of CPU that the request takes."""
    before = time.process_time()
    engine.generate([task.prompt], max_tokens=task.limit, temperature=task.temperature, seed=1)
    return time.process_time() - before


def _arrivals(tasks: Sequence[Task], load: float, count: int, seed: int) -> tuple[list[Task], list[float]]:
    """Requests drawn from those recorded, and when each arrives: a Poisson process."""
    rng = random.Random(seed)
    some = [rng.choice(tasks) for _ in range(count)]
    gap = statistics.mean(task.seconds for task in some) / load
    times, now = [], 0.0
    for _ in some:
        now += rng.expovariate(1 / gap)
        times.append(now)
    return some, times


def _serve(
    order: Order,
    tasks: Sequence[Task],
    times: Sequence[float],
    by_tokens: bool,
    work: Callable[[Task], float] | None = None,
) -> list[tuple[bool, float]]:
    """Whether each is long, and from its arrival to its end; `work` does one and says what it took, else that is as recorded."""
    now = 0.0
    queue: FairQueue[int] = FairQueue(lambda: now, order)
    known = Durations()
    kinds = [known.kind("", task.prompt, task.limit) for task in tasks]
    found = []
    come = 0
    while come < len(tasks) or queue:
        if not queue:
            now = max(now, times[come])
        busy_until = now
        while come < len(tasks) and times[come] <= busy_until:
            now = times[come]  # a request's rank is of its arrival
            task = tasks[come]
            expected = task.tokens / TOKENS_PER_S if by_tokens else known.expect(kinds[come], task.limit)
            queue.push("", task.tokens, come, expected)
            come += 1
        now = busy_until
        _, i = queue.pop()
        took = work(tasks[i]) if work else tasks[i].seconds
        known.learn(kinds[i], tasks[i].limit, took)
        now += took
        found.append((tasks[i].long, now - times[i]))
    return found


def _told(found: Sequence[tuple[bool, float]]) -> dict[str, dict[str, float]]:
    told = {}
    for kind, long in (("short", False), ("long", True), ("all", None)):
        several = [seconds for is_long, seconds in found if long is None or is_long == long]
        p95, p99 = np.percentile(several, [95, 99])
        told[kind] = {
            "mean": round(math.fsum(several) / len(several), 2), "p95": round(p95, 2), "p99": round(p99, 2)
        }  # fmt: skip
    return told


def _learned(tasks: Sequence[Task]) -> list[float]:
    """What is expected of each, from the second time that all come."""
    known = Durations()
    for task in tasks:
        known.learn(known.kind("", task.prompt, task.limit), task.limit, task.seconds)
    return [known.expect(known.kind("", task.prompt, task.limit), task.limit) for task in tasks]


def _correlation(tasks: Sequence[Task], expected: Sequence[float]) -> float:
    """Spearman's, of what is expected with what was taken."""
    return float(spearmanr(expected, [task.seconds for task in tasks]).statistic)
