"""What the gateway costs as prompts, keys and replicas grow: CPU of its process on a plain request, everything on.

One of the three grows at a time, before engines that do no work. The rounds go through all sizes in turn, so that what else runs
on the machine meets all of them alike; the figure has every round's point beside the medians.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..gateway.keys import KeyStore
from ..settings import Settings
from .experiment import Experiment
from .gateway import PROMPT, load
from .places import BIG, Place, gateway, mock_engine, redis
from .process_cpu import cpu_s, need_linux

PROMPT_TOKENS = (32, 128, 512, 2_048, 8_192, 32_768)
KEYS = (1, 10, 100, 1_000)
REPLICAS = (1, 2, 4, 8, 16)
REQUESTS, ROUNDS = 300, 4
QUICK_REQUESTS, QUICK_ROUNDS = 40, 1
CHARS_PER_TOKEN = 4
NAME = "gateway-growth"


def run(settings: Settings, experiment: Experiment) -> dict[str, Any]:
    """Medians of CPU milliseconds by prompt, keys in use, and replicas, and how much a step to the largest costs."""
    need_linux()
    rounds, requests = (QUICK_ROUNDS, QUICK_REQUESTS) if experiment.quick else (ROUNDS, REQUESTS)
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        model = settings.checkpoint.name
        limits = stack.enter_context(redis(home))
        engines = [stack.enter_context(mock_engine(model, home)) for _ in range(max(REPLICAS))]
        points: dict[str, dict[int, list[float]]] = {"prompt_tokens": {}, "keys": {}, "replicas": {}}
        with _gateway(settings, home / "plain", engines[:1], limits) as place:
            keys = _keys(home / "plain", max(KEYS))
            for turn in range(rounds):
                experiment.say(f"round {turn + 1} of {rounds}")
                for tokens in PROMPT_TOKENS:
                    prompt = (PROMPT * (tokens * CHARS_PER_TOKEN // len(PROMPT) + 1))[
                        : tokens * CHARS_PER_TOKEN
                    ]
                    _add(points["prompt_tokens"], tokens, place, model, requests, prompt=prompt)
                for count in KEYS:
                    _add(points["keys"], count, place, model, requests, keys=keys[:count])
        for count in REPLICAS:
            with _gateway(settings, home / f"of-{count}", engines[:count], limits) as place:
                for _ in range(rounds):
                    _add(points["replicas"], count, place, model, requests)
    medians = {
        name: {str(at): round(statistics.median(many), 3) for at, many in found.items()}
        for name, found in points.items()
    }
    figures: dict[str, Any] = {
        "cpu_ms_per_request_by": medians,
        "largest_over_smallest": {
            name: round(list(found.values())[-1] / next(iter(found.values())), 2)
            for name, found in medians.items()
        },
        "everything_on": {"limits": "redis" if limits else "memory", "traces": _traced()},
    }
    if experiment.plots:
        from .gateway_growth_plot import draw

        experiment.out.mkdir(parents=True, exist_ok=True)
        figures["figure"] = draw(points, experiment.out / f"{NAME}.svg")
    return figures


def _gateway(
    settings: Settings, home: Path, engines: list[str], limits: str | None
) -> contextlib.AbstractContextManager[Place]:
    traces = {"SURESQL_TRACES_URL": engines[0]} if _traced() else {}
    return gateway(settings, home, ",".join(engines), limits, **traces)


def _traced() -> bool:
    return find_spec("opentelemetry.sdk") is not None


def _keys(home: Path, count: int) -> tuple[str, ...]:
    """So many more keys of that gateway, each of a tenant of its own and with limits."""
    store = KeyStore(home)
    return tuple(store.create(f"tenant-{number}", limits=BIG)[0] for number in range(count))


def _add(found: dict[int, list[float]], at: int, place: Place, model: str, count: int, **more: Any) -> None:
    """The CPU of a request, the gateway warm."""
    asyncio.run(load(place.url, place.key, model, 20, stream=False, **more))
    before = cpu_s(place.pid)
    asyncio.run(load(place.url, place.key, model, count, stream=False, **more))
    found.setdefault(at, []).append((cpu_s(place.pid) - before) * 1000 / count)
