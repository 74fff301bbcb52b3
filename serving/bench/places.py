"""What the gateway's benchmarks stand up: an engine that does no work, Redis, and a gateway with everything on."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..engines.vllm import free_port
from ..gateway.caller import Limits
from ..gateway.keys import KeyStore
from ..settings import Settings
from .servers import RedisServer, Server, started, suresql

BIG = Limits(10**8, 10**9, 10**12)
"""Limits that are kept and that no benchmark reaches."""


@dataclass(frozen=True)
class Place:
    """A gateway that runs: where, as which process, and the key that it wants."""

    url: str
    pid: int
    key: str = ""


@contextlib.contextmanager
def mock_engine(model: str, home: Path, *more: str) -> Iterator[str]:
    """The address of an engine that does no work; `more` as its module takes it."""
    port = free_port()
    command = [sys.executable, "-m", "serving.bench.mock_engine", model, str(port), *more]
    server = Server("the engine that does no work", command, port, home / f"mock-{port}.log")
    with started(server):
        yield server.url


@contextlib.contextmanager
def redis(home: Path) -> Iterator[str | None]:
    """A Redis server's address; None where none is installed."""
    if shutil.which("redis-server") is None:
        yield None
        return
    server = RedisServer(home, keeps=False)
    with started(server):
        yield server.url


@contextlib.contextmanager
def gateway(
    settings: Settings,
    home: Path,
    engine: str | None,
    redis: str | None,
    engine_key: str = "",
    **variables: str,
) -> Iterator[Place]:
    """A `suresql serve` with everything on."""
    key, _ = KeyStore(home).create("bench", limits=BIG)
    given = {"SURESQL_ACCESS_LOG": "true", "SURESQL_QUEUE": "1000", "SURESQL_ENGINE_URLS": engine or ""}
    if redis:
        given["SURESQL_REDIS_URL"] = redis
    if engine_key:
        given["SURESQL_ENGINE_API_KEY"] = engine_key
    server = suresql(settings, "gateway", home, home / "log", **{**given, **variables})
    with started(server):
        yield Place(server.url, server.pid, key)
