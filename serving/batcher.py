"""Questions that arrive together are answered together, by one worker or several, over a bounded queue fair to tenants."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from . import tracing
from .engines.cancel import Cancel, stoppable
from .errors import Gone, Overloaded, ServingError
from .gateway.fair import FairQueue, full
from .progress import Listener, heard_by

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(eq=False)
class _Entry(Generic[Item, Answer]):
    """An item, who waits for its answer, and in which trace."""

    item: Item
    future: asyncio.Future[Answer]
    listen: Listener | None
    trace: tracing.Place | None = field(default_factory=tracing.current)
    since_ns: int = field(default_factory=tracing.now_ns)


class Batcher(Generic[Item, Answer]):
    """Feeds `work`, a plain function over a batch, from async callers. Use from one event loop."""

    def __init__(
        self,
        work: Callable[[Sequence[Item]], list[Answer]],
        *,
        max_batch: int = 8,
        queue: int = 32,
        workers: int = 1,
    ) -> None:
        self._work = work
        self._max_batch = max_batch
        self._limit = queue
        self._waiting: FairQueue[_Entry[Item, Answer]] = FairQueue()
        self._arrived = asyncio.Event()
        self.inside = 0
        self._seconds_each = 1.0  # a running mean of what one item takes
        self._pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="suresql-engine")
        self._tasks = [asyncio.create_task(self._run()) for _ in range(workers)]

    def submit(
        self, item: Item, tenant: str = "", tokens: float = 1.0, listen: Listener | None = None
    ) -> asyncio.Future[Answer]:
        """A future of the answer; cancelled in time, nothing is done for it. `listen` is told what is known meanwhile.

        Raises Overloaded.

        Where the queue is full, the last item of the tenant that has most waiting leaves it, with Overloaded as its answer.
        """
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.push(
            tenant, tokens, _Entry(item, future, listen), 0.0
        )  # by arrival: questions take about alike
        if self.inside >= self._limit:
            contended = self._waiting.waiting(tenant) < len(self._waiting)
            out = self._waiting.overflow(tenant).future
            wait = max(1, math.ceil(self.inside * self._seconds_each))
            refusal = full(self._limit, contended, wait)
            if out is future:
                raise refusal
            if not out.done():
                out.set_exception(refusal)
        self.inside += 1
        future.add_done_callback(self._left)
        self._arrived.set()
        return future

    async def close(self) -> None:
        """Stop after the batch that is being worked on; who still waits is told so."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        while self._waiting:
            _, one = self._waiting.pop()
            if not one.future.done():
                one.future.set_exception(
                    Overloaded("The server is stopping.", "Ask another, or try again shortly.", 5)
                )
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _left(self, _future: asyncio.Future[Answer]) -> None:
        self.inside -= 1

    async def _run(self) -> None:
        while True:
            while not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
            batch: list[_Entry[Item, Answer]] = []
            while len(batch) < self._max_batch and self._waiting:
                _, one = self._waiting.pop()
                if not one.future.done():
                    batch.append(one)
            if batch:
                try:
                    await self._answer(batch)
                except asyncio.CancelledError:
                    for one in batch:
                        if not one.future.done():
                            one.future.set_exception(
                                Overloaded("The server is stopping.", "Try again shortly.", 5)
                            )
                    raise

    async def _answer(self, batch: list[_Entry[Item, Answer]]) -> None:
        started = time.perf_counter()
        loop = asyncio.get_running_loop()
        flag = Cancel()

        def nobody_left(_future: asyncio.Future[Answer]) -> None:
            if all(one.future.cancelled() for one in batch):
                flag.set()

        def work() -> list[Answer]:
            with (
                stoppable(flag),
                heard_by([one.listen for one in batch]),
                tracing.worked_for([one.trace for one in batch]),
            ):
                tracing.waited("queue", [one.since_ns for one in batch])
                return self._work([one.item for one in batch])

        for one in batch:
            one.future.add_done_callback(nobody_left)
        try:
            answers = await loop.run_in_executor(self._pool, work)
        except Gone:
            return
        except Exception as error:
            if len(batch) == 1 or not isinstance(error, ServingError):
                for one in batch:
                    if not one.future.done():
                        one.future.set_exception(error)
                return
            for one in batch:  # a bad one must not spoil the others'
                if not one.future.done():
                    await self._answer([one])
            return
        for one, answer in zip(batch, answers, strict=True):
            if not one.future.done():
                one.future.set_result(answer)
        each = (time.perf_counter() - started) / len(batch)
        self._seconds_each += 0.2 * (each - self._seconds_each)
