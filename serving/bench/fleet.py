"""Gateways before two engines, their limits in a Redis that keeps what it was told: what `soak` and `restart` shake."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..gateway.caller import Scope
from ..gateway.keys import KeyStore
from ..settings import Settings
from .servers import ONE_CORE, RedisServer, Server, started, suresql


@dataclass(frozen=True)
class Fleet:
    """The processes, which run within `running`; the gateways have one `home`, whose keys are good at each."""

    home: Path
    redis: RedisServer
    engines: list[Server]
    gateways: list[Server]
    engine_key: str
    """Of the engines, for whoever asks or administers."""

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """All of them, ready; ended on leaving, the gateways first."""
        with started(self.redis, *self.engines), started(*self.gateways):
            yield


def fleet(settings: Settings, folder: Path, gateways: int = 1, **variables: str) -> Fleet:
    """One whose files are in `folder`; `variables` are the gateways' further ones. Each process computes on one core."""
    redis = RedisServer(folder / "redis")
    engine_key, _ = KeyStore(folder / "engines").create("gateway", scopes=(Scope.ASK, Scope.ADMIN))
    engines = [
        suresql(settings, f"engine-{i}", folder / "engines", folder / f"engine-{i}.log", **ONE_CORE)
        for i in range(2)
    ]
    home = folder / "gateways"
    fronts = [
        suresql(
            settings, f"gateway-{i}", home, folder / f"gateway-{i}.log", **ONE_CORE,
            SURESQL_ENGINE_URLS=",".join(one.url for one in engines), SURESQL_ENGINE_API_KEY=engine_key,
            SURESQL_REDIS_URL=redis.url, **variables,
        )
        for i in range(gateways)
    ]  # fmt: skip
    return Fleet(home, redis, engines, fronts, engine_key)
