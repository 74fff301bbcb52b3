"""A bounded queue that is fair between tenants by tokens, and within one lets short requests pass long ones.

Between tenants: the virtual token counter of Sheng et al. (arXiv 2401.00588). Whose requests took the fewest tokens is
next; one who comes back from idleness does not bring saved-up turns along. Within a tenant: by arrival, plus some times what
the request is expected to take, so that a short one passes a long one, and a long one's wait is bounded.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ..errors import LimitReached, Overloaded

Item = TypeVar("Item")
PASSED = 16.0
"""A request that is expected to take a second more counts as come so many seconds later: short ones wait as with the shortest
first, and no long one for ever (`suresql bench classes`)."""
Order = Callable[[float, float], tuple[float, ...]]
"""The rank of a request among its tenant's, the least first, from its arrival and the time that it is expected to take (s)."""


def aged(now: float, seconds: float) -> tuple[float, ...]:
    """By arrival, plus PASSED times what it takes: a short one passes a long one, and a long one's wait is bounded."""
    return (now + PASSED * seconds,)


@dataclass
class _Tenant(Generic[Item]):
    counter: float = 0.0
    heap: list[tuple[tuple[float, ...], int, float, Item]] = field(default_factory=list)


class FairQueue(Generic[Item]):
    """Holds items of tenants, each with the tokens that it is expected to take. Not for several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, order: Order = aged) -> None:
        self._clock = clock
        self._order = order
        self._tenants: dict[str, _Tenant[Item]] = {}
        self._number = itertools.count()
        self._least = 0.0
        """The counter of the tenant that was served last: nobody begins below."""
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def waiting(self, tenant: str) -> int:
        """How many items of the tenant wait."""
        return len(self._tenants[tenant].heap) if tenant in self._tenants else 0

    def push(self, tenant: str, tokens: float, item: Item, seconds: float) -> None:
        """Take the item in: expected to take so many tokens, by which tenants are served alike, and so long."""
        one = self._account(tenant)
        rank = self._order(self._clock(), seconds)
        heapq.heappush(one.heap, (rank, next(self._number), tokens, item))
        self._size += 1

    def charge(self, tenant: str, tokens: float) -> None:
        """A request of the tenant is served without having waited."""
        self._account(tenant).counter += tokens

    def overflow(self, tenant: str) -> Item:
        """Take out what has to leave for an item of `tenant` that came last: the last of the tenant that has most waiting.

        So a flood drowns itself alone. Raises ValueError if nothing waits.
        """
        most = max(self._tenants.items(), key=lambda pair: (len(pair[1].heap), pair[0] == tenant))[1]
        last = max(range(len(most.heap)), key=lambda i: most.heap[i][:2])
        return self._remove(most, last)

    def pop(self, barred: Callable[[str], bool] = lambda _: False) -> tuple[str, Item]:
        """The next item, and whose it is, of the tenants that are not barred. Raises IndexError if there is none."""
        name, one = min(
            ((name, one) for name, one in self._tenants.items() if one.heap and not barred(name)),
            key=lambda pair: (pair[1].counter, len(pair[1].heap)),
            default=("", None),
        )
        if one is None:
            raise IndexError("the queue is empty")
        _, _, tokens, item = heapq.heappop(one.heap)
        self._size -= 1
        self._least = one.counter
        one.counter += tokens
        self._forget()
        return name, item

    def discard(self, tenant: str, item: Item) -> bool:
        """Take an item out whose client has gone; false if it is not there."""
        one = self._tenants.get(tenant)
        for i, entry in enumerate(one.heap if one else ()):
            if entry[3] is item and one is not None:
                self._remove(one, i)
                return True
        return False

    def settle(self, tenant: str, difference: float) -> None:
        """Correct a tenant's counter by what a request took beyond what was expected."""
        if (one := self._tenants.get(tenant)) is not None:
            one.counter += difference

    def _account(self, tenant: str) -> _Tenant[Item]:
        """A tenant's, which begins, or begins anew after idleness, no lower than those that wait."""
        one = self._tenants.get(tenant)
        if one is None:
            one = self._tenants[tenant] = _Tenant()
        if not one.heap:
            waiting = [other.counter for other in self._tenants.values() if other.heap]
            one.counter = max(one.counter, min(waiting, default=self._least))
        return one

    def _remove(self, one: _Tenant[Item], place: int) -> Item:
        item = one.heap.pop(place)[3]
        heapq.heapify(one.heap)
        self._size -= 1
        return item

    def _forget(self) -> None:
        """Tenants that wait for nothing and owe nothing are not kept."""
        if len(self._tenants) > 1_000:
            gone = [
                name for name, one in self._tenants.items() if not one.heap and one.counter <= self._least
            ]
            for name in gone:
                del self._tenants[name]


class Slots:
    """So many requests at one time; the others wait in a FairQueue. Use from one event loop.

    One tenant gets `most` slots at most: of what it leaves, others who come find something at once.
    """

    def __init__(self, slots: int, queue: int, most: int | None = None) -> None:
        self.slots = slots
        self.free = slots
        self._most = slots if most is None else max(1, min(most, slots))
        self._held: dict[str, int] = {}
        self._queue: FairQueue[asyncio.Future[None]] = FairQueue()
        self._limit = queue
        self._seconds_each = 1.0  # a running mean of how long a slot is held

    @property
    def waiting(self) -> int:
        return len(self._queue)

    async def acquire(self, tenant: str, tokens: float, expected_s: float) -> bool:
        """Wait for a slot; whether there was none at once. Cancelled, it leaves the queue.

        Raises LimitReached or Overloaded where the queue is full.
        """
        if self.free and not self._full(tenant) and not self._queue.waiting(tenant):
            self._queue.charge(tenant, tokens)
            self._take(tenant)
            return False
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.push(tenant, tokens, future, expected_s)
        if len(self._queue) > self._limit:
            contended = self._queue.waiting(tenant) < len(self._queue)
            out = self._queue.overflow(tenant)
            if not out.done():
                out.set_exception(full(self._limit, contended, self.retry_after_s()))
        try:
            await future
        except asyncio.CancelledError:
            if (
                not self._queue.discard(tenant, future)
                and future.done()
                and not future.cancelled()
                and future.exception() is None
            ):
                self._give_back(tenant)  # the slot had come meanwhile
            raise
        return True

    def release(self, tenant: str, seconds: float, difference: float = 0.0) -> None:
        """Give the slot to who is next. `difference`: tokens that it took beyond what was expected."""
        self._seconds_each += 0.1 * (seconds - self._seconds_each)
        if difference:
            self._queue.settle(tenant, difference)
        self._give_back(tenant)

    def retry_after_s(self) -> int:
        """When a slot may be expected for who comes then."""
        return max(1, math.ceil((len(self._queue) + 1) * self._seconds_each / self.slots))

    def close(self) -> None:
        """Whoever waits is told that the server stops."""
        while self._queue:
            _, future = self._queue.pop()
            if not future.done():
                future.set_exception(Overloaded("The server is stopping.", "Try again shortly.", 2))

    def _full(self, tenant: str) -> bool:
        return self._held.get(tenant, 0) >= self._most

    def _take(self, tenant: str) -> None:
        self.free -= 1
        self._held[tenant] = self._held.get(tenant, 0) + 1

    def _give_back(self, tenant: str) -> None:
        self.free += 1
        if self._held[tenant] == 1:
            del self._held[tenant]
        else:
            self._held[tenant] -= 1
        while self._queue and self.free:
            try:
                name, future = self._queue.pop(self._full)
            except IndexError:
                return
            if not future.done():
                self._take(name)
                future.set_result(None)


def full(limit: int, contended: bool, wait_s: int) -> Overloaded:
    """What is said where a queue of `limit` is full: 429 where tenants contend for it, 503 where it is one's own alone."""
    hint = f"Try again in {wait_s} s."
    if contended:
        return LimitReached(
            f"The queue of {limit} is full, and this tenant has most of what waits.", hint, wait_s
        )
    return Overloaded(f"{limit} requests are waiting, which is all that may.", hint, wait_s)
