"""What waits together is answered together, too much is refused, and nothing is done for who has left."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from serving.batcher import Batcher
from serving.errors import BadSql, Overloaded


class Gate:
    """Work that waits until it is let go, and remembers its batches."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.begun = threading.Event()
        self.batches: list[list[int]] = []

    def work(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        self.begun.set()
        assert self.open.wait(10)
        if 13 in items:
            raise BadSql("thirteen")
        return [item * 2 for item in items]


async def _begun(gate: Gate) -> None:
    assert await asyncio.to_thread(gate.begun.wait, 10)


def test_what_waits_while_one_is_worked_on_goes_together() -> None:
    async def scenario() -> None:
        gate = Gate()
        batcher = Batcher(gate.work, max_batch=3)
        first = batcher.submit(1)
        await _begun(gate)
        rest = [batcher.submit(i) for i in range(2, 7)]
        gate.open.set()
        assert await asyncio.gather(first, *rest) == [2, 4, 6, 8, 10, 12]
        assert gate.batches == [[1], [2, 3, 4], [5, 6]]
        await batcher.close()

    asyncio.run(scenario())


def test_who_has_left_before_the_work_began_costs_nothing() -> None:
    async def scenario() -> None:
        gate = Gate()
        batcher = Batcher(gate.work)
        first = batcher.submit(1)
        await _begun(gate)
        gone, stays = batcher.submit(2), batcher.submit(3)
        gone.cancel()
        gate.open.set()
        assert await asyncio.gather(first, stays) == [2, 6]
        assert gate.batches == [[1], [3]]
        await batcher.close()

    asyncio.run(scenario())


def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    async def scenario() -> None:
        gate = Gate()
        batcher = Batcher(gate.work, queue=2)
        held = [batcher.submit(1), batcher.submit(2)]
        with pytest.raises(Overloaded) as caught:
            batcher.submit(3)
        assert caught.value.retry_after_s >= 1
        gate.open.set()
        await asyncio.gather(*held)
        assert await batcher.submit(4) == 8
        await batcher.close()

    asyncio.run(scenario())


def test_one_that_fails_does_not_spoil_the_others_of_its_batch() -> None:
    async def scenario() -> None:
        gate = Gate()
        batcher = Batcher(gate.work)
        first = batcher.submit(1)
        await _begun(gate)
        rest = [batcher.submit(12), batcher.submit(13), batcher.submit(14)]
        gate.open.set()
        found = await asyncio.gather(first, *rest, return_exceptions=True)
        assert (found[0], found[1], found[3]) == (2, 24, 28)
        assert isinstance(found[2], BadSql)
        await batcher.close()

    asyncio.run(scenario())


def test_who_waits_when_it_closes_is_told_so() -> None:
    async def scenario() -> None:
        gate = Gate()
        batcher = Batcher(gate.work, max_batch=1)
        first, second = batcher.submit(1), batcher.submit(2)
        await _begun(gate)
        gate.open.set()
        await batcher.close()
        for future in (first, second):
            assert future.done()
        assert isinstance(second.exception(), Overloaded)

    asyncio.run(scenario())
