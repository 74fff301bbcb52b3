"""Limits of keys: nothing overruns, nothing leaks, and the ledger in Redis is the one in memory's twin."""

import asyncio
import contextlib
import multiprocessing
import os
import shutil
import signal
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.bench.servers import RedisServer, started
from serving.errors import LimitReached, Overloaded
from serving.gateway.caller import Caller, Limits
from serving.gateway.limits import MemoryLedger, Reservation
from serving.gateway.redis_limits import RedisLedger

needs_redis = pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")


def caller(**limits: int) -> Caller:
    return Caller(uuid.uuid4().hex, "tenant", limits=Limits(**limits))


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = RedisServer(tmp_path_factory.mktemp("redis"), keeps=False)
    with started(server):
        yield server.url


class Clock:
    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def test_who_has_no_limits_holds_nothing() -> None:
    assert asyncio.run(MemoryLedger().reserve(caller(), "r", 10**9)) is None


STEPS = st.lists(
    st.tuples(st.sampled_from(["reserve", "settle", "wait"]), st.integers(0, 400), st.integers(0, 400)),
    max_size=40,
)


@given(steps=STEPS, budget=st.integers(1, 1_000))
def test_what_is_spent_and_held_never_exceeds_the_budget_as_long_as_estimates_hold(
    steps: list[tuple[str, int, int]], budget: int
) -> None:
    async def scenario() -> None:
        clock = Clock()
        ledger = MemoryLedger(clock, expire_s=200)
        who = caller(token_budget=budget, budget_days=365)
        held: list[Reservation] = []
        settled = 0
        for number, (step, amount, took) in enumerate(steps):
            if step == "reserve":
                try:
                    found = await ledger.reserve(who, str(number), amount)
                    assert found is not None
                    held.append(found)
                except LimitReached as error:
                    assert error.retry_after_s >= 1
            elif step == "settle" and held:
                one = held.pop()
                await ledger.settle(one, min(took, one.tokens))
                settled += min(took, one.tokens)
            elif step == "wait":
                clock.now += amount
                held = []  # forgotten, as by a process that died: they expire
            spent, _ = ledger.left(who.key)
            assert spent <= budget
        clock.now += 1_000
        await ledger.reserve(caller(requests_per_minute=1), "x", 1)
        try:
            await ledger.reserve(who, "last", 0)
        except LimitReached:
            pytest.fail("nothing may stay held")
        assert ledger.left(who.key)[0] == settled

    asyncio.run(scenario())


def test_a_bucket_fills_as_time_goes_by_and_the_wait_that_is_told_is_enough() -> None:
    async def scenario() -> None:
        clock = Clock()
        ledger = MemoryLedger(clock)
        who = caller(requests_per_minute=6, tokens_per_minute=600)
        for number in range(6):
            await ledger.reserve(who, str(number), 100)
        with pytest.raises(LimitReached) as caught:
            await ledger.reserve(who, "more", 100)
        clock.now += caught.value.retry_after_s
        await ledger.reserve(who, "more", 100)
        with pytest.raises(LimitReached):
            await ledger.reserve(who, "still more", 100)

    asyncio.run(scenario())


def test_a_request_larger_than_a_minutes_tokens_is_let_in_when_the_bucket_is_full() -> None:
    async def scenario() -> None:
        ledger = MemoryLedger(Clock())
        who = caller(tokens_per_minute=100)
        assert await ledger.reserve(who, "large", 5_000) is not None
        with pytest.raises(LimitReached):
            await ledger.reserve(who, "next", 1)

    asyncio.run(scenario())


@needs_redis
@given(steps=STEPS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_redis_and_memory_decide_alike(redis_url: str, steps: list[tuple[str, int, int]]) -> None:
    async def scenario() -> None:
        clock = Clock(time.time())
        memory = MemoryLedger(clock, expire_s=5_000)
        shared = RedisLedger(redis_url, expire_s=5_000)
        # Rates so slow that the milliseconds between the two make no difference to whole tokens.
        who = caller(requests_per_minute=20, token_budget=1_500, budget_days=365)
        held: list[Reservation] = []
        try:
            for number, (step, amount, took) in enumerate(steps):
                if step == "reserve":
                    outcomes = []
                    for ledger in (memory, shared):
                        try:
                            one = await ledger.reserve(who, str(number), amount)
                            assert one is not None
                            outcomes.append("")
                        except LimitReached as error:
                            outcomes.append(error.message)
                    assert outcomes[0] == outcomes[1]
                    if not outcomes[0]:
                        held.append(Reservation(who.key, str(number), amount, who.limits))
                elif step == "settle" and held:
                    one = held.pop(0)
                    await memory.settle(one, took)
                    await shared.settle(one, took)
                else:
                    clock.now += 10 * amount
                    shared.shift_s += 10 * amount
            assert await shared.spent(who.key) == pytest.approx(memory.left(who.key), abs=0.01)
        finally:
            await shared.close()

    asyncio.run(scenario())


def _burst(url: str, who: Caller, tokens: int, tries: int, die: bool) -> None:
    """Reserves again and again, settling nothing; at the end it is killed or ends."""

    async def run() -> None:
        ledger = RedisLedger(url, expire_s=60)
        for number in range(tries):
            with contextlib.suppress(LimitReached):
                await ledger.reserve(who, f"{os.getpid()}-{number}", tokens)
        if die:
            os.kill(os.getpid(), signal.SIGKILL)
        await ledger.close()

    asyncio.run(run())


@needs_redis
def test_a_burst_of_processes_overruns_nothing_and_what_the_killed_held_comes_back(redis_url: str) -> None:
    who = caller(token_budget=1_000, budget_days=365)
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_burst, args=(redis_url, who, 7, 100, i % 2 == 0)) for i in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)

    async def after() -> None:
        ledger = RedisLedger(redis_url, expire_s=60)
        spent, holding = await ledger.spent(who.key)
        assert (spent, holding) == (994, 142)  # 142 times 7: as much as fits, and not once more
        ledger.shift_s = 61
        assert await ledger.reserve(who, "after", 1_000) is not None
        await ledger.close()

    asyncio.run(after())


@needs_redis
def test_what_is_said_twice_counts_once_and_what_comes_late_counts(redis_url: str) -> None:
    """As after a connection that broke when the script had run, and before its answer came."""

    async def scenario() -> None:
        clock = Clock(time.time())
        memory, shared = MemoryLedger(clock, expire_s=60), RedisLedger(redis_url, expire_s=60)
        who = caller(token_budget=1_000, budget_days=365)
        for ledger in (memory, shared):
            await ledger.reserve(who, "twice", 400)
            twice = await ledger.reserve(who, "twice", 400)
            late = await ledger.reserve(who, "late", 300)
            assert twice is not None and late is not None
            await ledger.settle(twice, 100)
            await ledger.settle(twice, 100)
        clock.now += 61
        shared.shift_s += 61
        for ledger in (memory, shared):
            await ledger.settle(late, 250)
            await ledger.settle(late, 250)
        assert await shared.spent(who.key) == memory.left(who.key) == (350, 0)
        await shared.close()

    asyncio.run(scenario())


@needs_redis
def test_what_redis_could_not_be_told_it_is_told_when_it_is_back(tmp_path: Path) -> None:
    redis = RedisServer(tmp_path)
    with started(redis):

        async def scenario() -> None:
            ledger = RedisLedger(redis.url)
            who = caller(token_budget=1_000, budget_days=365)
            held = [await ledger.reserve(who, str(i), 100) for i in range(3)]
            redis.kill()
            for one in held:
                assert one is not None
                await ledger.settle(one, 7)
            redis.start()
            redis.wait()
            while await ledger.spent(who.key) != (21, 0):
                await asyncio.sleep(0.05)
            await ledger.close()

        asyncio.run(scenario())


@needs_redis
def test_a_settlement_whose_client_leaves_meanwhile_is_settled_all_the_same(redis_url: str) -> None:
    async def scenario() -> None:
        ledger = RedisLedger(redis_url)
        who = caller(token_budget=1_000, budget_days=365)
        held = await ledger.reserve(who, "r", 100)
        assert held is not None
        settling = asyncio.create_task(ledger.settle(held, 7))
        await asyncio.sleep(0)
        settling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await settling
        await ledger.close()
        again = RedisLedger(redis_url)
        assert await again.spent(who.key) == (7, 0)
        await again.close()

    asyncio.run(scenario())


@needs_redis
def test_without_redis_limits_are_not_waived() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]

    async def scenario() -> None:
        ledger = RedisLedger(f"redis://127.0.0.1:{port}")
        with pytest.raises(Overloaded) as caught:
            await ledger.reserve(caller(requests_per_minute=1), "r", 1)
        assert caught.value.status == 503
        assert caught.value.retry_after_s >= 1
        await ledger.close()

    asyncio.run(scenario())
