"""The queue: fair between tenants by tokens, short before long within one, bounded, and a flood drowns itself."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import LimitReached, Overloaded
from serving.gateway.fair import PASSED, FairQueue, Slots


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@given(
    costs=st.dictionaries(
        st.sampled_from("abcd"), st.lists(st.integers(1, 50), min_size=30, max_size=60), min_size=2
    )
)
def test_those_who_always_wait_get_the_same_share_of_tokens(costs: dict[str, list[int]]) -> None:
    queue: FairQueue[int] = FairQueue(Clock())
    for tenant, several in costs.items():
        for tokens in several:
            queue.push(tenant, tokens, tokens, 1.0)
    served = dict.fromkeys(costs, 0)
    while all(queue.waiting(tenant) for tenant in costs):
        tenant, tokens = queue.pop()
        served[tenant] += tokens
        assert max(served.values()) - min(served.values()) <= 100  # two of the largest requests


def test_who_was_idle_does_not_bring_saved_up_turns_along() -> None:
    queue: FairQueue[str] = FairQueue(Clock())
    for _ in range(10):
        queue.push("busy", 10, "busy", 1.0)
        queue.pop()
    for _ in range(4):
        queue.push("busy", 10, "busy", 1.0)
        queue.push("new", 10, "new", 1.0)
    served = [queue.pop()[0] for _ in range(8)]
    assert sorted(served[:2]) == sorted(served[2:4]) == ["busy", "new"]


def test_a_short_request_passes_a_long_one_but_not_for_ever() -> None:
    clock = Clock()
    queue: FairQueue[str] = FairQueue(clock)
    queue.push("a", 1, "long", seconds=10 / PASSED)
    clock.now = 5.0
    queue.push("a", 1_000, "short", seconds=1 / PASSED)  # what it may write does not matter
    clock.now = 9.5
    queue.push("a", 1, "late", seconds=1 / PASSED)
    assert [queue.pop()[1] for _ in range(3)] == ["short", "long", "late"]


@given(flood=st.integers(20, 200), limit=st.integers(4, 20))
def test_a_flood_drowns_itself_and_nobody_else(flood: int, limit: int) -> None:
    async def scenario() -> None:
        slots = Slots(1, limit)
        await slots.acquire("flood", 1, 1.0)
        many = [asyncio.create_task(slots.acquire("flood", 1, 1.0)) for _ in range(flood)]
        await asyncio.sleep(0)
        one = asyncio.create_task(slots.acquire("quiet", 1, 1.0))
        await asyncio.sleep(0)
        assert slots.waiting <= limit
        slots.release("flood", 0.1)
        await one  # it is next
        refused = [task for task in many if task.done()]
        assert len(refused) == flood - limit + 1
        for task in refused:
            error = task.exception()
            assert isinstance(error, Overloaded)
            assert error.retry_after_s >= 1
        slots.close()
        await asyncio.gather(*many, return_exceptions=True)

    asyncio.run(scenario())


def test_the_reason_says_whether_it_is_this_tenant_or_all(recwarn: pytest.WarningsRecorder) -> None:
    async def scenario() -> None:
        slots = Slots(1, 2)
        await slots.acquire("a", 1, 1.0)
        waiting = [
            asyncio.create_task(slots.acquire("a", 1, 1.0)),
            asyncio.create_task(slots.acquire("b", 1, 1.0)),
        ]
        await asyncio.sleep(0)
        with pytest.raises(LimitReached):
            await slots.acquire("a", 1, 1.0)
        slots.close()
        await asyncio.gather(*waiting, return_exceptions=True)

    asyncio.run(scenario())


def test_who_leaves_while_waiting_takes_no_slot_with_it() -> None:
    async def scenario() -> None:
        slots = Slots(1, 10)
        await slots.acquire("a", 1, 1.0)
        gone, stays = (
            asyncio.create_task(slots.acquire("a", 1, 1.0)),
            asyncio.create_task(slots.acquire("a", 1, 1.0)),
        )
        await asyncio.sleep(0)
        slots.release("a", 0.1)
        gone.cancel()  # the slot is on its way to it
        await stays
        slots.release("a", 0.1)
        assert slots.free == 1

    asyncio.run(scenario())


def test_one_tenant_leaves_slots_for_others() -> None:
    async def scenario() -> None:
        slots = Slots(4, 10, most=3)
        for _ in range(3):
            await slots.acquire("a", 1, 1.0)
        fourth = asyncio.create_task(slots.acquire("a", 1, 1.0))
        await asyncio.sleep(0)
        assert not fourth.done()
        await slots.acquire("b", 1, 1.0)
        slots.release("a", 0.1)
        await fourth
        assert slots.free == 0

    asyncio.run(scenario())
