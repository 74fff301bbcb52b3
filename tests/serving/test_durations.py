"""What requests are expected to take: what their like took, and nothing of other tenants'."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.gateway.durations import MOST_KINDS, START_CHARS, Durations

QUESTION = "<schema> of a database <ask> " * 20


def test_a_kind_that_was_seen_takes_what_it_took_whatever_its_limit_admits() -> None:
    known = Durations()
    short, long = known.kind("a", QUESTION + "how many?", 500), known.kind("a", "write a novel", 500)
    for _ in range(30):
        known.learn(short, 500, 0.1)
        known.learn(long, 500, 4.0)
    again = known.kind("a", QUESTION + "which suppliers?", 500)
    assert known.expect(again, 500) == pytest.approx(0.1)
    assert known.expect(long, 500) == pytest.approx(4.0)


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=50))
def test_an_expectation_lies_between_the_least_and_the_most_that_was_taken(seconds: list[float]) -> None:
    known = Durations()
    kind = known.kind("a", QUESTION, 100)
    for one in seconds:
        known.learn(kind, 100, one)
    assert min(seconds) - 1e-9 <= known.expect(kind, 100) <= max(seconds) + 1e-9


def test_of_a_new_kind_the_limit_decides() -> None:
    known = Durations()
    for _ in range(60):
        known.learn(known.kind("a", QUESTION, 100), 100, 2.0)
    new = known.kind("a", "something else", 400)
    assert known.expect(new, 400) == pytest.approx(8.0, rel=0.01)
    assert known.expect(known.kind("a", "something else", 50), 50) == pytest.approx(1.0, rel=0.01)


def test_a_tenants_requests_say_nothing_of_anothers() -> None:
    known = Durations()
    known.learn(known.kind("a", QUESTION, 100), 100, 50.0)
    before = known.expect(known.kind("b", QUESTION, 100), 100)
    for _ in range(50):
        known.learn(known.kind("b", QUESTION, 100), 100, 1.0)
    assert known.expect(known.kind("b", QUESTION, 100), 100) < before
    assert known.expect(known.kind("a", QUESTION, 100), 100) == 50.0


def test_kinds_without_end_take_no_memory_without_end_and_the_latest_are_kept() -> None:
    known = Durations()
    for number in range(2 * MOST_KINDS):
        known.learn(known.kind("a", f"{number} " * START_CHARS, 100), 100, float(number))
    assert len(known._kinds) == MOST_KINDS
    last = 2 * MOST_KINDS - 1
    assert known.expect(known.kind("a", f"{last} " * START_CHARS, 100), 100) == float(last)
