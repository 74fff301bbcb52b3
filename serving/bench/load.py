"""Load that the engine cannot bear: what a flood does to the other tenants, and what is still answered at four times capacity.

The engine takes a fixed time for each answer and makes a few at once, so that capacity is known and all else is the gateway's.
Arrivals are open-loop: nobody waits for an answer before the next request, as a flood does not.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from ..gateway.keys import KeyStore
from ..settings import Settings
from .places import Place, gateway, mock_engine
from .process_cpu import resident_mb

SECONDS, AT_ONCE = 0.2, 4
CAPACITY = AT_ONCE / SECONDS
QUIET_RATE = 1.0
FLOOD = 100
MEASURE_S = 12.0
QUEUE = 16


@dataclass
class _Outcome:
    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    without_wait: int = 0
    """Refusals that do not say when to come back."""


def run(settings: Settings) -> dict[str, Any]:
    """p95 of a quiet tenant alone and beside a flood (median of three turns), and goodput at 1 and 4 times capacity."""
    with (
        tempfile.TemporaryDirectory() as folder,
        mock_engine("mock", Path(folder), str(SECONDS), str(AT_ONCE)) as engine,
    ):
        home = Path(folder)
        with gateway(
            settings, home, engine, None, SURESQL_ENGINE_SLOTS=str(AT_ONCE), SURESQL_QUEUE=str(QUEUE),
            SURESQL_ENGINE_FORMAT="plain",
        ) as place:  # fmt: skip
            keys = {name: KeyStore(home).create(name)[0] for name in ("quiet", "flood", "a", "b", "c", "d")}
            time.sleep(1)  # until the gateway has looked at the keys again
            return asyncio.run(_measure(place, keys))


async def _measure(place: Place, keys: dict[str, str]) -> dict[str, Any]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def offered(rates: dict[str, float]) -> dict[str, _Outcome]:
            outcomes = {name: _Outcome() for name in rates}
            await asyncio.gather(
                *(
                    _arrive(session, place.url, keys[name], rate, outcomes[name])
                    for name, rate in rates.items()
                )
            )
            return outcomes

        await offered({"quiet": 4.0})  # warm
        ratios, alone_ms, beside_ms = [], [], []
        refused: Counter[int] = Counter()
        silent = 0
        for _ in range(3):
            alone = (await offered({"quiet": QUIET_RATE}))["quiet"]
            both = await offered({"quiet": QUIET_RATE, "flood": FLOOD * QUIET_RATE})
            alone_ms.append(float(np.percentile(alone.seconds, 95)) * 1000)
            beside_ms.append(float(np.percentile(both["quiet"].seconds, 95)) * 1000)
            ratios.append(beside_ms[-1] / alone_ms[-1])
            refused += both["flood"].statuses
            silent += sum(one.without_wait for one in both.values())
            failed = sum(count for status, count in both["quiet"].statuses.items() if status != 200)
        tenants = ("a", "b", "c", "d")
        peak = await offered(dict.fromkeys(tenants, CAPACITY / 4 * 1.0))
        before = resident_mb(place.pid)
        over = await offered(dict.fromkeys(tenants, CAPACITY))
        after = resident_mb(place.pid)
        good = [sum(one.statuses[200] for one in found.values()) / MEASURE_S for found in (peak, over)]
        codes: Counter[int] = sum((one.statuses for one in over.values()), Counter())
        return {
            "flood_factor": FLOOD,
            "quiet_p95_ms_alone": round(float(np.median(alone_ms)), 1),
            "quiet_p95_ms_beside_flood": round(float(np.median(beside_ms)), 1),
            "quiet_p95_ratio": round(float(np.median(ratios)), 3),
            "quiet_failed_beside_flood": failed,
            "flood_statuses": dict(refused),
            "capacity_per_s": CAPACITY,
            "goodput_per_s_at_capacity": round(good[0], 2),
            "goodput_per_s_at_4x": round(good[1], 2),
            "goodput_ratio_at_4x": round(good[1] / good[0], 3),
            "statuses_at_4x": dict(codes),
            "refusals_without_retry_after": silent + sum(one.without_wait for one in over.values()),
            "other_statuses_at_4x": sum(
                count for status, count in codes.items() if status not in (200, 429, 503)
            ),
            "rss_mb_before_and_after_4x": [before, after],
        }


async def _arrive(session: aiohttp.ClientSession, url: str, key: str, rate: float, outcome: _Outcome) -> None:
    """Requests at a rate for MEASURE_S seconds, each on its own."""
    body = {"model": "mock", "prompt": "x" * 200, "max_tokens": 32}
    headers = {"authorization": f"Bearer {key}"}

    async def one() -> None:
        started = time.perf_counter()
        async with session.post(url + "/v1/completions", json=body, headers=headers) as response:
            await response.read()
            outcome.statuses[response.status] += 1
            if response.status == 200:
                outcome.seconds.append(time.perf_counter() - started)
            elif not response.headers.get("retry-after", "").isdigit():
                outcome.without_wait += 1

    tasks = []
    started = time.perf_counter()
    for number in range(int(rate * MEASURE_S)):
        await asyncio.sleep(max(0.0, started + number / rate - time.perf_counter()))
        tasks.append(asyncio.create_task(one()))
    await asyncio.gather(*tasks)
