"""Several servers of one model: which of them takes the next request, and which are well.

A request goes to the server that its prompt's beginning belongs to, by rendezvous hashing (Thaler and Ravishankar 1998), for
there its prefix is cached; where that one is busier than the idlest by more than the prefix is worth, to the idlest.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from urllib.parse import urlsplit

import aiohttp

log = logging.getLogger(__name__)

PREFIX_CHARS = 1_024
"""So much of a prompt's beginning decides where it belongs."""
SLACK = 4
"""A server may have so many more requests than the idlest and still get those that belong to it."""
LOOK_S = 0.5
TIMEOUT_S = 5.0
MAX_TRIES = 6
PAUSE_S = 0.1
TRY_AGAIN = frozenset({429, 500, 502, 503, 504})
"""Answers of a server after which another may do better."""


class Replica:
    """One server: its address, what it is doing for us, and whether it answers."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.address = urlsplit(url).netloc.rpartition("@")[2]
        """Host and port, without a password."""
        self.healthy = True
        self.in_flight = 0
        self.answered = 0
        self.failures = 0

    def __repr__(self) -> str:
        return f"Replica({self.url}, {'well' if self.healthy else 'down'}, {self.in_flight} in flight)"


class Replicas:
    """The servers and their state; safe to use from several threads and event loops."""

    def __init__(self, urls: Iterable[str]) -> None:
        self.all = tuple(Replica(url) for url in dict.fromkeys(url.rstrip("/") for url in urls))
        if not self.all:
            raise ValueError("there must be a server")
        self._lock = threading.Lock()

    def pick(self, prompt: str | bytes, avoid: Collection[Replica] = ()) -> Replica | None:
        """The server for a request whose prompt begins so; None where all are down or to be avoided."""
        if len(self.all) == 1:
            only = self.all[0]
            return only if only.healthy and only not in avoid else None
        able = [one for one in self.all if one.healthy and one not in avoid]
        if not able:
            return None
        least = min(one.in_flight for one in able)
        start = prompt[:PREFIX_CHARS]
        key = start.encode("utf-8", "replace") if isinstance(start, str) else start
        home = max(able, key=lambda one: blake2b(one.url.encode() + b"\0" + key, digest_size=8).digest())
        if home.in_flight <= least + SLACK:
            return home
        return min(able, key=lambda one: one.in_flight)

    @contextmanager
    def using(self, replica: Replica) -> Iterator[None]:
        """Counts a request as in flight."""
        with self._lock:
            replica.in_flight += 1
        try:
            yield
        finally:
            with self._lock:
                replica.in_flight -= 1

    def failed(self, replica: Replica, why: object) -> None:
        """A request could not reach it or broke off: no more until it says that it is well."""
        replica.failures += 1
        if replica.healthy:
            log.warning("engine %s is down: %s", replica.url, why)
            replica.healthy = False

    async def look(self, session: aiohttp.ClientSession) -> None:
        """Ask each once whether it is well."""
        await asyncio.gather(*(self._look(session, one) for one in self.all))

    async def watch(self, session: aiohttp.ClientSession) -> None:
        """Ask for ever, every half a second."""
        while True:
            await self.look(session)
            await asyncio.sleep(LOOK_S)

    async def _look(self, session: aiohttp.ClientSession, replica: Replica) -> None:
        try:
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
            well = False
            for path in ("/readyz", "/health", "/v1/models"):  # ours, vLLM's, anyone's
                async with session.get(replica.url + path, timeout=timeout) as response:
                    if response.status != 404:
                        well = response.status < 500
                        break
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if replica.healthy:
                self.failed(replica, type(error).__name__)
            return
        if well != replica.healthy:
            log.warning("engine %s is %s", replica.url, "well" if well else "not ready")
        replica.healthy = well


class Attempts:
    """The tries of one request: on which server next, until its deadline."""

    def __init__(self, replicas: Replicas, prompt: str | bytes, deadline_s: float) -> None:
        self._replicas = replicas
        self._prompt = prompt
        self._deadline = time.monotonic() + deadline_s
        self._avoid: set[Replica] = set()
        self._tries = 0
        self.why = "none is well"

    @property
    def left_s(self) -> float:
        """Time until the deadline."""
        return self._deadline - time.monotonic()

    @property
    def last(self) -> bool:
        """Whether there will be no further try."""
        return self._tries >= MAX_TRIES or self.left_s <= 0

    async def next(self) -> Replica | None:
        """The server to try, waiting for one that is well; None when tries or time are used up."""
        while not self.last:
            replica = self._replicas.pick(self._prompt, self._avoid)
            if replica is not None:
                self._tries += 1
                return replica
            self._avoid.clear()
            await asyncio.sleep(min(PAUSE_S, max(0.0, self.left_s)))
        return None

    def failed(self, replica: Replica, why: str, down: bool = False) -> None:
        """It could not; where it is `down`, nobody gets it until it says that it is well."""
        self.why = f"{replica.url} {why}"
        self._avoid.add(replica)
        if down:
            self._replicas.failed(replica, why)


def new_session(api_key: str | None = None) -> aiohttp.ClientSession:
    """A client of engines, without a limit on connections or on the time an answer takes. Within an event loop."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30, ttl_dns_cache=60),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=TIMEOUT_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"authorization": f"Bearer {api_key}"} if api_key else None,
        auto_decompress=False,
        skip_auto_headers=("User-Agent", "Accept-Encoding"),
        read_bufsize=2**16,
    )
