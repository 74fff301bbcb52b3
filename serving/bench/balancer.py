"""The least that a load balancer does: asks each server whether it is ready, and takes those that are in turn."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aiohttp

LOOK_S = 0.2


class Balancer:
    """Within `watching`, `pick` gives the address of a server that said that it was ready when it was last asked."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._ready = dict.fromkeys(urls, True)
        self._number = itertools.count()

    def pick(self) -> str:
        """The next in turn; where none is ready, any, as its answer says best why."""
        able = [url for url, ready in self._ready.items() if ready] or list(self._ready)
        return able[next(self._number) % len(able)]

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Asks /readyz of each every LOOK_S."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=1.0)) as session:
            await asyncio.gather(*(self._look(session, url) for url in self._ready))
            tasks = [asyncio.create_task(self._watch(session, url)) for url in self._ready]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, session: aiohttp.ClientSession, url: str) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            await self._look(session, url)

    async def _look(self, session: aiohttp.ClientSession, url: str) -> None:
        try:
            async with session.get(url + "/readyz") as response:
                self._ready[url] = response.status == 200
        except (aiohttp.ClientError, OSError):
            self._ready[url] = False
