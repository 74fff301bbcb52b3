"""A client leaves in the middle: how long until the engine's place is free for the next.

The engine has one place (the embedded one always; vLLM is told --max-num-seqs 1), so the next request cannot be answered before
it is free. That request, for one token, is sent the moment that the client has left; what it takes over what it takes when
nothing is in the engine is what the leaving took. What it takes when the client stays is told too: it shows that the place
was taken.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from ..engines.opening import stop_all
from ..engines.vllm import START_S, environment, start
from ..errors import EvaluationError
from ..gateway.caller import Scope
from ..gateway.keys import KeyStore
from ..settings import Settings
from .servers import ONE_CORE, started, suresql

TIMES, STAYING = 24, 3
TARGET_MS = 250.0
LONG = 1_200
"""Tokens asked for by the client that leaves: seconds of work."""
TRIES = 6
_KINDS = ("completion", "stream")


def run(settings: Settings) -> dict[str, Any]:
    """By engine and kind of request: median and worst of TIMES, in ms."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        key, _ = KeyStore(folder / "home").create("client", scopes=(Scope.ASK, Scope.EXECUTE))
        engines: dict[str, Any] = {"embedded": _measured(settings, folder, key, "")}
        if environment(settings).ready:
            with _vllm(settings, folder) as url:
                engines["vllm"] = _measured(settings, folder, key, url)
        else:
            engines["vllm"] = None  # not installed
    worst = [one["worst_ms"] for found in engines.values() if found for one in found["by_kind"].values()]
    return {"target_ms": TARGET_MS, "worst_ms": max(worst), "engines": engines}


@contextlib.contextmanager
def _vllm(settings: Settings, folder: Path) -> Iterator[str]:
    wanted = settings.model_copy(
        update={"home": folder / "vllm", "engine_arguments": "--max-num-seqs 1", "engine_replicas": 1}
    )
    processes = start(wanted)
    try:
        for one in processes:
            one.wait(START_S)
        yield processes[0].url
    finally:
        stop_all(processes)


def _measured(settings: Settings, folder: Path, key: str, engine: str) -> dict[str, Any]:
    server = suresql(
        settings, "gateway", folder / "home", folder / "gateway.log", SURESQL_ENGINE_URLS=engine, **ONE_CORE
    )
    with started(server):
        return asyncio.run(_Leaving(server.url, key, settings.checkpoint.name, engine != "").all())


class _Leaving:
    """Clients of one gateway that leave."""

    def __init__(self, url: str, key: str, model: str, is_vllm: bool) -> None:
        self._url = url
        self._key = key
        self._model = model
        self._is_vllm = is_vllm
        self._draw = random.Random(0)

    async def all(self) -> dict[str, Any]:
        async with aiohttp.ClientSession() as session:
            idle = [await self._next_ms(session) for _ in range(TIMES)][TIMES // 4 :]
            usual = statistics.median(idle)
            by_kind = {}
            for kind in _KINDS:
                took = [await self._left_ms(session, kind) - usual for _ in range(TIMES)]
                stayed = [await self._left_ms(session, kind, stays=True) - usual for _ in range(STAYING)]
                by_kind[kind] = {
                    "median_ms": round(statistics.median(took), 1),
                    "worst_ms": round(max(took), 1),
                    "median_ms_if_it_stays": round(statistics.median(stayed), 1),
                    "times": len(took),
                }
            return {
                "next_ms_when_idle": round(usual, 1),
                "next_ms_when_idle_worst": round(max(idle), 1),
                "by_kind": by_kind,
            }

    async def _next_ms(self, session: aiohttp.ClientSession) -> float:
        """What the next request, for one token, takes."""
        body = {"model": self._model, "prompt": "select", "max_tokens": 1, "temperature": 0}
        begun = time.perf_counter()
        async with session.post(
            self._url + "/v1/completions", json=body, headers={"authorization": f"Bearer {self._key}"}
        ) as response:
            content = await response.read()
            if response.status != 200:
                raise EvaluationError(f"{self._url} answered {response.status}: {content[:300]!r}")
        return (time.perf_counter() - begun) * 1000

    async def _left_ms(self, session: aiohttp.ClientSession, kind: str, *, stays: bool = False) -> float:
        """A client asks for much and, at a random moment of the work on it, leaves; what the next request takes then."""
        for _ in range(TRIES):
            reader, writer = await self._ask(kind)
            if self._is_vllm and kind == "stream":
                await reader.readuntil(b"data: ")
            await asyncio.sleep(self._draw.uniform(0.1, 0.4))
            if await self._ended(reader):  # it was short by chance, and nothing was left in the middle
                writer.close()
                continue
            if not stays:
                writer.transport.abort()
            took = await self._next_ms(session)
            if stays:
                writer.transport.abort()
                await self._next_ms(session)
            return took
        raise EvaluationError(f"The engine ended each {kind} before its client could leave.")

    async def _ask(self, kind: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        body: dict[str, Any] = {
            "model": self._model, "prompt": "select the ", "max_tokens": LONG, "temperature": 2.0,
            "stream": kind == "stream", **({"ignore_eos": True} if self._is_vllm else {}),
        }  # fmt: skip
        data = json.dumps(body).encode()
        where = urlsplit(self._url)
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        head = (
            f"POST /v1/completions HTTP/1.1\r\nhost: {where.netloc}\r\ncontent-type: application/json\r\n"
            f"authorization: Bearer {self._key}\r\ncontent-length: {len(data)}\r\n\r\n"
        )
        writer.write(head.encode() + data)
        await writer.drain()
        return reader, writer

    async def _ended(self, reader: asyncio.StreamReader) -> bool:
        """Whether the answer is whole already."""
        received = b""
        with contextlib.suppress(TimeoutError):
            while True:
                part = await asyncio.wait_for(reader.read(2**16), 0.001)
                received += part
                if not part:
                    return True
        if received.startswith(b"HTTP/1.1 200") and b"transfer-encoding: chunked" not in received.lower():
            return True  # an answer in one piece is sent when it is whole
        return b"[DONE]" in received
