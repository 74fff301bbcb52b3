"""Two gateways and two engines, restarted one after another with SIGTERM under load: does any request fail.

Clients go through a balancer that asks /readyz, as one in front of gateways does; nothing is tried again on their side. Each
process says first that it is not ready, answers meanwhile, then ends what it has begun, and only then itself.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp

from ..gateway.caller import Scope
from ..gateway.keys import KeyStore
from ..settings import Settings
from .balancer import Balancer
from .fleet import fleet
from .outcomes import Outcomes
from .places import BIG
from .servers import Server

DEADLINE_S = 60.0
STEADY_S = 3.0
"""Under load before the first restart, and after each."""
LOOK_S = 0.02
QUESTIONS = (
    "which suppliers are in Germany?",
    "how many parts are there?",
    "list the names of all warehouses",
)


def run(settings: Settings) -> dict[str, Any]:
    """Counts of requests that failed, and of each restart, when its process said that it was not ready and when it closed."""
    with tempfile.TemporaryDirectory() as name:
        servers = fleet(settings, Path(name), gateways=2)
        key, _ = KeyStore(servers.home).create("client", scopes=(Scope.ASK, Scope.EXECUTE), limits=BIG)
        with servers.running():
            return asyncio.run(_roll(servers.gateways, servers.engines, key, settings.checkpoint.name))


async def _roll(gateways: list[Server], engines: list[Server], key: str, model: str) -> dict[str, Any]:
    outcomes = Outcomes(DEADLINE_S)
    balancer = Balancer([one.url for one in gateways])
    stop = asyncio.Event()

    async def client(number: int, kind: str, path: str, pause_s: float) -> None:
        draw = random.Random(number)
        while not stop.is_set():
            await outcomes.ask(session, kind, balancer.pick() + path, key, _body(kind, model, draw))
            await asyncio.sleep(draw.expovariate(1 / pause_s))

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session, balancer.watching():
        clients = [
            asyncio.create_task(client(number, kind, path, pause_s))
            for number, (kind, path, pause_s) in enumerate(
                [("completions", "/v1/completions", 0.1)] * 2
                + [("streams", "/v1/completions", 0.1)] * 2
                + [("questions", "/v1/sql", 0.5), ("streamed questions", "/v1/sql", 0.5)]
            )
        ]
        await asyncio.sleep(STEADY_S)
        restarts = []
        for server in (*gateways, *engines):
            restarts.append(await _restart(session, server, outcomes))
            await asyncio.sleep(STEADY_S)
        stop.set()
        await asyncio.gather(*clients)
    figures = outcomes.figures()
    return {
        **figures,
        "failed": figures["requests"] - figures["answers"] + figures["answers_that_name_an_error"],
        "restarts": restarts,
    }


async def _restart(session: aiohttp.ClientSession, server: Server, outcomes: Outcomes) -> dict[str, Any]:
    begun = time.perf_counter()
    before = outcomes.answers.total()
    server.ask_to_stop()
    unready_s = closed_s = None
    while server.running:
        now = time.perf_counter() - begun
        try:
            async with session.get(server.url + "/readyz") as response:
                if response.status == 503 and unready_s is None:
                    unready_s = now
        except (aiohttp.ClientError, OSError):
            closed_s = now if closed_s is None else closed_s
        await asyncio.sleep(LOOK_S)
    ended_s = time.perf_counter() - begun
    assert server.process is not None
    status = server.process.returncode
    server.start()
    await asyncio.to_thread(server.wait)
    return {
        "server": server.name,
        "not_ready_after_s": None if unready_s is None else round(unready_s, 2),
        "closed_after_s": None if closed_s is None else round(closed_s, 2),
        "ended_after_s": round(ended_s, 2),
        "exit_status": status,
        "ready_again_after_s": round(time.perf_counter() - begun, 1),
        "answers_meanwhile": outcomes.answers.total() - before,
    }


def _body(kind: str, model: str, draw: random.Random) -> dict[str, Any]:
    if "questions" in kind:
        question = draw.choice(QUESTIONS)
        return {
            "question": question,
            "database": "demo",
            "execute": True,
            "stream": kind.startswith("streamed"),
        }
    return {
        "model": model, "prompt": f"select the parts of supplier {draw.randrange(10**6)}", "max_tokens": draw.randint(8, 96),
        "temperature": 1.5, "stream": kind == "streams",
    }  # fmt: skip
