"""`kill -9` of engines, Redis and the database at random moments under steady load: how requests end, and do the ledgers agree.

A gateway before two engines (SureSQL servers), its limits in a Redis that keeps what it was told, and a PostgreSQL that is asked.
Whoever is killed is started again a moment later, as a supervisor does. Afterwards, what the gateway settled is compared with
what the engines did, and what stands in Redis with both.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import psycopg

from ..databases import Databases
from ..gateway.caller import Caller, Scope
from ..gateway.keys import KeyStore
from ..gateway.reconcile import Reconciliation, reconcile
from ..gateway.redis_limits import RedisLedger
from ..service import SPARE_S
from ..settings import Settings
from .cluster import Cluster, cluster
from .dialects import make_reader
from .fleet import fleet
from .outcomes import Outcomes
from .places import BIG
from .process_cpu import resident_mb
from .servers import Server
from .siege import SHOP

ENGINE_S, REQUEST_S, DEADLINE_S = 20.0, 25.0, 30.0
"""The longest that an engine may take, that the gateway lets a request take, and that a client waits."""
BETWEEN_S, AWAY_S = (5.0, 20.0), (0.0, 4.0)
"""Between two kills, and how long the killed one is away."""
QUESTIONS = (
    "which suppliers are in Germany?",
    "how many parts does each supplier have?",
    "what is the average price of parts?",
    "which supplier has the highest rating?",
)
STATEMENTS = (
    "SELECT name FROM suppliers WHERE country = 'Germany' ORDER BY name",
    "SELECT s.name, count(*) FROM suppliers AS s JOIN parts AS p ON p.supplier_id = s.id GROUP BY s.name",
    "SELECT max(price) FROM parts",
)
PROMPTS = ("select the suppliers that ", "count the parts whose price ", "the average rating of ")


class Mortal(Protocol):
    """What can be killed and started again."""

    def start(self) -> None: ...
    def wait(self) -> None: ...
    def kill(self) -> None: ...


def run(settings: Settings) -> dict[str, Any]:
    """Counts over `bench_minutes`, seeded by SURESQL_BENCH_SEED."""
    seed = int(os.environ.get("SURESQL_BENCH_SEED", "0"))
    with tempfile.TemporaryDirectory() as name, cluster() as postgres:
        servers = fleet(
            settings, Path(name), SURESQL_ENGINE_TIMEOUT_S=str(ENGINE_S), SURESQL_REQUEST_TIMEOUT_S=str(REQUEST_S)
        )  # fmt: skip
        redis, engines, (gateway,) = servers.redis, servers.engines, servers.gateways
        shop = _shop(postgres, servers.home)
        keys = {
            name: KeyStore(servers.home).create(name, scopes=scopes, limits=limits)
            for name, scopes, limits in (
                ("completions", (Scope.ASK,), BIG),
                ("questions", (Scope.ASK, Scope.EXECUTE), BIG),
                ("admin", (Scope.ADMIN,), None),
            )
        }
        with servers.running():
            mortals: dict[str, Mortal] = {
                "engine-0": engines[0], "engine-1": engines[1], "redis": redis, "postgres": postgres,
            }  # fmt: skip
            before = resident_mb(gateway.pid, alone=True)
            outcomes, kills = _under_load(
                gateway, mortals, {name: text for name, (text, _) in keys.items()}, settings, seed, shop
            )
            for one in mortals.values():
                one.wait()
            after = resident_mb(gateway.pid, alone=True)
            asked = [gateway.url], [one.url for one in engines], keys["admin"][0], servers.engine_key
            found, joined = reconcile(*asked), reconcile(*asked, join=True)
            accounts = asyncio.run(
                _accounts(redis.url, {name: key.caller() for name, (_, key) in keys.items()})
            )
            lived = gateway.running
            gateway.stop()
            settled = _settled(servers.home / "calls" / "0.jsonl", keys["completions"][1].prefix)
        return {
            "minutes": settings.bench_minutes,
            "seed": seed,
            "kills": dict(kills),
            **_merged(outcomes),
            "ledger": _ledger(found, joined),
            "account_minus_settled_tokens": accounts["completions"] - settled,
            "account_minus_answered_tokens_of_questions": accounts["questions"]
            - outcomes["questions"].tokens,
            "tokens_settled": settled,
            "gateway_lived": lived,
            "gateway_rss_mb_before_and_after": [before, after],
        }


def _under_load(
    gateway: Server,
    mortals: dict[str, Mortal],
    keys: dict[str, str],
    settings: Settings,
    seed: int,
    shop: str,
) -> tuple[dict[str, Outcomes], Counter[str]]:
    until = time.monotonic() + 60 * settings.bench_minutes
    kills: Counter[str] = Counter()
    reaper = threading.Thread(target=_reap, args=(mortals, random.Random(seed), until, kills))
    reaper.start()
    try:
        outcomes = asyncio.run(_load(gateway.url, keys, settings.checkpoint.name, shop, seed, until))
    finally:
        reaper.join()
    return outcomes, kills


def _reap(mortals: dict[str, Mortal], draw: random.Random, until: float, kills: Counter[str]) -> None:
    """Kills one at a time or, now and then, one while another is still away."""
    back: list[tuple[float, str]] = []
    next_kill = time.monotonic() + draw.uniform(*BETWEEN_S)
    while time.monotonic() < until or back:
        now = time.monotonic()
        for when, name in [one for one in back if one[0] <= now]:
            mortals[name].start()
            if name == "postgres":  # the killed one's children may have to be waited for
                mortals[name].wait()
            back.remove((when, name))
        if next_kill <= now < until:
            name = draw.choice([name for name in sorted(mortals) if name not in {name for _, name in back}])
            mortals[name].kill()
            kills[name] += 1
            back.append((now + draw.uniform(*AWAY_S), name))
            next_kill = now + draw.uniform(*BETWEEN_S)
        time.sleep(0.02)


async def _load(
    url: str, keys: dict[str, str], model: str, shop: str, seed: int, until: float
) -> dict[str, Outcomes]:
    """Clients that ask, wait for the end, and ask again after a moment."""
    outcomes = {kind: Outcomes(DEADLINE_S) for kind in ("completions", "streams", "questions", "statements")}

    async def client(number: int, kind: str, key: str, path: str, pause_s: float) -> None:
        draw = random.Random(f"{seed}-{number}")
        while time.monotonic() < until:
            await outcomes[kind].ask(session, kind, url + path, keys[key], _body(kind, model, shop, draw))
            await asyncio.sleep(draw.expovariate(1 / pause_s))

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(
            client(0, "completions", "completions", "/v1/completions", 0.3),
            client(1, "completions", "completions", "/v1/completions", 0.3),
            client(2, "streams", "completions", "/v1/completions", 0.3),
            client(3, "streams", "completions", "/v1/completions", 0.3),
            client(4, "questions", "questions", "/v1/sql", 1.0),
            client(5, "statements", "questions", "/v1/execute", 0.3),
            client(6, "statements", "questions", "/v1/execute", 0.3),
        )
    return outcomes


def _body(kind: str, model: str, shop: str, draw: random.Random) -> dict[str, Any]:
    if kind == "questions":
        return {"question": draw.choice(QUESTIONS), "database": shop, "execute": True}
    if kind == "statements":
        return {"sql": draw.choice(STATEMENTS), "database": shop}
    return {
        "model": model, "prompt": draw.choice(PROMPTS) + str(draw.randrange(10**6)), "max_tokens": draw.randint(4, 48),
        "temperature": 1.5, "stream": kind == "streams",
    }  # fmt: skip


def _shop(postgres: Cluster, home: Path) -> str:
    """A database on the server, registered with the gateway."""
    with psycopg.connect(postgres.url("owner"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE shop")
    with psycopg.connect(postgres.url("owner", "shop"), autocommit=True) as connection:
        connection.execute(SHOP.encode())
    make_reader(postgres, "shop")
    Databases(home).add("shop", postgres.url("reader", "shop"))
    return "shop"


async def _accounts(url: str, callers: dict[str, Caller]) -> dict[str, int]:
    """Tokens on each account once what nobody settled has expired."""
    ledger = RedisLedger(url, shift_s=REQUEST_S + SPARE_S + 1)
    try:
        found = {}
        for name, caller in callers.items():
            if caller.limits:
                await ledger.reserve(caller, "afterwards", 0)
                found[name] = round((await ledger.spent(caller.key))[0])
        return found
    finally:
        await ledger.close()


def _settled(file: Path, key: str) -> int:
    """Tokens of the calls settled on a key's account, from the gateway's own table."""
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return sum(line["tokens"] for line in lines if line.get("side") == "settled" and line["key"] == key)


def _ledger(found: Reconciliation, joined: Reconciliation) -> dict[str, Any]:
    return {
        "calls_settled": found.settled_calls,
        "calls_done": found.did_calls,
        "differences": len(found.differences),
        "differences_unexplained": len(found.unexplained),
        "differing": [vars(one) for one in found.differences[:20]],
        "sketches_name_what_the_join_does": set(found.differences) == set(joined.differences),
        "bytes_of_sketches": found.bytes_read,
        "bytes_of_tables": joined.bytes_read,
    }


def _merged(outcomes: dict[str, Outcomes]) -> dict[str, Any]:
    whole = Outcomes(DEADLINE_S)
    for one in outcomes.values():
        whole.requests += one.requests
        whole.answers += one.answers
        whole.honest += one.honest
        whole.past_deadline += one.past_deadline
        whole.incomplete += one.incomplete
        whole.neither += one.neither
        whole.slowest_s = max(whole.slowest_s, one.slowest_s)
        whole.examples += one.examples
    return {**whole.figures(), "answers_by_kind": dict(whole.answers)}
