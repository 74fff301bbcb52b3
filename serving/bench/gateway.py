"""What the gateway costs: CPU of its process on each request, everything on, before an engine that does no work; and how much of
a real model's throughput is left behind it. Peers, where installed, in the same run before the same engines.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Coroutine
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import aiohttp

from ..engines.vllm import environment, start
from ..errors import EvaluationError
from ..settings import Settings
from . import gateway_peers
from .gateway_peers import start_peers
from .mock_engine import CHUNKS
from .places import Place, gateway, mock_engine, redis
from .process_cpu import cpu_s, need_linux

PLAIN, STREAMS, ROUNDS, AT_ONCE = 600, 200, 3, 8
REAL_REQUESTS, REAL_TOKENS, REAL_ROUNDS = 16, 128, 12
PEERS_EVERY = 4
VLLM_START_S = 240.0
PROMPT = "select the suppliers that are in Germany and shipped late in March, with their parts; " * 4


def run(settings: Settings) -> dict[str, Any]:
    """CPU milliseconds are of the gateway's process, the median of alternating rounds. `*_over_ours_*` are a peer's cost over
    ours; SURESQL_PEERS names the folder of an environment that has litellm[proxy] and vllm-router.
    """
    need_linux()
    with tempfile.TemporaryDirectory() as folder:
        figures = _before_an_idle_engine(settings, Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        figures.update(_before_a_real_model(settings, Path(folder)))
    return {**figures, "peers": gateway_peers.versions()}


def _before_an_idle_engine(settings: Settings, home: Path) -> dict[str, Any]:
    model = settings.checkpoint.name
    with contextlib.ExitStack() as stack:
        mock = stack.enter_context(mock_engine(model, home))
        limits = stack.enter_context(redis(home))
        traced = {"SURESQL_TRACES_URL": mock} if find_spec("opentelemetry.sdk") else {}
        places = {
            "ours": stack.enter_context(gateway(settings, home / "ours", mock, limits, **traced)),
            "untraced": stack.enter_context(gateway(settings, home / "untraced", mock, limits)),
        }
        peers, missing = start_peers(stack, home, mock, model)
        places |= peers
        costs: dict[str, dict[str, list[float]]] = {
            name: {"plain": [], "stream": [], "rate": []} for name in places
        }
        direct: list[float] = []
        for turn in range(ROUNDS):
            direct.append(asyncio.run(load(mock, "", model, PLAIN, stream=False)))
            for name, place in _rotated(places, turn):
                cost = costs[name]
                asyncio.run(load(place.url, place.key, model, 20, stream=False))
                for kind, count in (("plain", PLAIN), ("stream", STREAMS)):
                    before = cpu_s(place.pid)
                    rate = asyncio.run(load(place.url, place.key, model, count, stream=kind == "stream"))
                    cost[kind].append((cpu_s(place.pid) - before) * 1000 / count)
                    if kind == "plain":
                        cost["rate"].append(rate)
    figures: dict[str, Any] = {
        "cpu_ms_per_request": round(statistics.median(costs["ours"]["plain"]), 3),
        "cpu_ms_per_stream": round(statistics.median(costs["ours"]["stream"]), 3),
        "chunks_per_stream": CHUNKS,
        "requests_per_s_idle_engine": round(statistics.median(costs["ours"]["rate"])),
        "requests_per_s_direct_idle_engine": round(statistics.median(direct)),
        "everything_on": {
            "keys": True, "limits": "redis" if limits else "memory", "audit": True, "metrics": True,
            "access_log": True, "fair_queue": True, "traces": bool(traced),
        },
        "cpu_ms_per_request_without_traces": round(statistics.median(costs["untraced"]["plain"]), 3),
        "cpu_ms_per_stream_without_traces": round(statistics.median(costs["untraced"]["stream"]), 3),
    }  # fmt: skip
    for name in gateway_peers.NAMES:
        if name not in places:
            figures[f"{name}_over_ours_plain"] = None
            figures[f"{name}_missing"] = missing[name]
            continue
        for kind in ("plain", "stream"):
            own = statistics.median(costs["ours"][kind])
            figures[f"{name}_cpu_ms_{kind}"] = round(statistics.median(costs[name][kind]), 3)
            figures[f"{name}_over_ours_{kind}"] = round(statistics.median(costs[name][kind]) / own, 2)
        figures[f"{name}_requests_per_s_idle_engine"] = round(statistics.median(costs[name]["rate"]))
    return figures


def _before_a_real_model(settings: Settings, home: Path) -> dict[str, Any]:
    """Throughput of the checkpoint in a server of its own, vLLM where it is installed, and of the same behind each gateway.

    Turn by turn, the order turned from round to round: a ratio is of two runs that are neighbours. Beside it, two ratios that
    other processes on the machine blur less: of both loads at one time, and of the CPU.
    """
    model = settings.checkpoint.name
    with contextlib.ExitStack() as stack:
        engine_key = ""
        if environment(settings).ready:
            (process,) = start(settings.model_copy(update={"home": home / "engine", "engine_replicas": 1}))
            stack.callback(process.stop)
            process.wait(VLLM_START_S)
            engine, name = process.url, "vLLM"
        else:
            served = stack.enter_context(gateway(settings, home / "engine", None, None))
            engine, engine_key = served.url, served.key
            name = "embedded engine in a server of its own"
        limits = stack.enter_context(redis(home))
        ours = stack.enter_context(gateway(settings, home / "front", engine, limits, engine_key=engine_key))
        peers = {} if engine_key else start_peers(stack, home, engine, model)[0]
        places = {"direct": Place(engine, 0, engine_key), "ours": ours, **peers}
        rates: dict[str, list[float]] = {one: [] for one in places}
        ratios: dict[str, list[float]] = {one: [] for one in places}

        def once(place: Place, count: int = REAL_REQUESTS) -> Coroutine[Any, Any, float]:
            return load(place.url, place.key, model, count, stream=False, tokens=REAL_TOKENS)

        async def together() -> tuple[float, float]:
            return await asyncio.gather(once(places["direct"], 3 * AT_ONCE), once(ours, 3 * AT_ONCE))

        for place in places.values():
            asyncio.run(once(place, AT_ONCE))
        before = cpu_s(ours.pid)
        for turn in range(REAL_ROUNDS):
            those = places if turn % PEERS_EVERY == 0 else {one: places[one] for one in ("direct", "ours")}
            found = {one: asyncio.run(once(place)) for one, place in _rotated(those, turn)}
            for one, rate in found.items():
                rates[one].append(rate)
                ratios[one].append(rate / found["direct"])
        cpu_ms = (cpu_s(ours.pid) - before) * 1000 / (REAL_ROUNDS * REAL_REQUESTS)
        alone, behind = asyncio.run(together())
    per_request_ms = 1000 / statistics.median(rates["direct"])
    figures: dict[str, Any] = {
        "throughput_engine": name,
        "requests_per_s_real_engine": {one: round(statistics.median(many), 2) for one, many in rates.items()},
        "throughput_ratio_at_one_time": round(behind / alone, 3),
        "cpu_ms_per_request_real_engine": round(cpu_ms, 3),
        "cpu_over_engines_time_per_request": round(cpu_ms / per_request_ms, 4),
    }
    for one, several in ratios.items():
        if one != "direct":
            label = "throughput_ratio" if one == "ours" else f"{one}_throughput_ratio"
            figures[f"{label}_to_direct"] = round(statistics.median(several), 3)
            figures[f"{label}_rounds"] = [round(ratio, 3) for ratio in several]
    return figures


def _rotated(places: dict[str, Place], turn: int) -> list[tuple[str, Place]]:
    """Each round begins with another."""
    found = list(places.items())
    turn %= len(found)
    return found[turn:] + found[:turn]


async def load(
    url: str,
    key: str,
    model: str,
    count: int,
    *,
    stream: bool,
    tokens: int = 32,
    prompt: str = PROMPT,
    keys: tuple[str, ...] = (),
) -> float:
    """Requests a second, eight at one time; `keys`, if given, are used in turn. Raises EvaluationError if any fails."""
    body = {"model": model, "prompt": prompt, "max_tokens": tokens, "temperature": 0, "stream": stream}
    data = json.dumps(body).encode()
    holders = itertools.cycle(keys or (key or "none",))
    left = iter(range(count))

    async def worker(session: aiohttp.ClientSession) -> None:
        for _ in left:
            headers = {"content-type": "application/json", "authorization": f"Bearer {next(holders)}"}
            async with session.post(url + "/v1/completions", data=data, headers=headers) as response:
                content = await response.read()
                if response.status != 200:
                    raise EvaluationError(f"{url} answered {response.status}: {content[:300]!r}")

    async with aiohttp.ClientSession() as session:
        started = time.perf_counter()
        await asyncio.gather(*(worker(session) for _ in range(AT_ONCE)))
        return count / (time.perf_counter() - started)
