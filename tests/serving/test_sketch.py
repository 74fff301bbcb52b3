"""A sketch names the calls that differ, all of them and rightly, or says that they are too many."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.gateway.sketch import CAPACITY, PRIME, Sketch, SketchFull

NAMES = st.integers(0, 2**64 - 1)
AMOUNTS = st.integers(-(2**31), 2**31)


def sketch(pairs: dict[int, int]) -> Sketch:
    made = Sketch()
    for name, amount in pairs.items():
        made.add(name, amount)
    return made


@given(one=st.dictionaries(NAMES, AMOUNTS, max_size=40), other=st.dictionaries(NAMES, AMOUNTS, max_size=40))
def test_a_difference_is_what_differs(one: dict[int, int], other: dict[int, int]) -> None:
    expected = {name: one.get(name, 0) - other.get(name, 0) for name in one.keys() | other.keys()}
    assert (sketch(one) - sketch(other)).decode() == {name: by for name, by in expected.items() if by}


@settings(deadline=None)
@given(names=st.lists(NAMES, min_size=2, max_size=CAPACITY // 4, unique=True), amount=AMOUNTS.filter(bool))
def test_calls_that_differ_by_the_same_are_not_taken_for_their_mean(names: list[int], amount: int) -> None:
    same = dict.fromkeys(names, amount)
    assert sketch(same).decode() == same


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("seed", range(10))  # fixed: one pair of full sketches in some 20,000 is refused
def test_up_to_its_capacity_all_come_out_among_thousands_that_agree(seed: int, share: float) -> None:
    draw = random.Random(seed)
    settled = {draw.getrandbits(64): draw.randrange(1, 4_000) for _ in range(1_500)}
    wrong = draw.sample(sorted(settled), round(share * CAPACITY))
    did = {
        name: tokens + (draw.choice([-tokens, 1, -1, 900]) if name in wrong else 0)
        for name, tokens in settled.items()
    }
    expected = {name: settled[name] - did[name] for name in wrong}
    assert (sketch(settled) - sketch(did)).decode() == expected


@given(seed=st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_beyond_it_is_refused_and_never_wrong(seed: int) -> None:
    draw = random.Random(seed)
    many = {draw.getrandbits(64): draw.randrange(1, 4_000) for _ in range(3 * CAPACITY)}
    with pytest.raises(SketchFull, match="More calls") as caught:
        sketch(many).decode()
    assert "--join" in caught.value.hint


@given(parts=st.lists(st.dictionaries(NAMES, AMOUNTS, max_size=20), max_size=4))
def test_the_sketch_of_a_whole_is_the_sum_of_its_parts_and_survives_the_wire(
    parts: list[dict[int, int]],
) -> None:
    total, whole = Sketch(), {}
    for part in parts:
        total += Sketch.from_bytes(sketch(part).to_bytes())
        for name, amount in part.items():
            whole[name] = whole.get(name, 0) + amount
    assert total.decode() == {name: amount for name, amount in whole.items() if amount}


def test_a_whole_day_takes_no_more_bytes_than_a_minute() -> None:
    draw = random.Random(0)
    assert (
        len(sketch({draw.getrandbits(64): 7 for _ in range(5_000)}).to_bytes())
        == len(Sketch().to_bytes())
        == 15_360
    )


@pytest.mark.parametrize("content", [b"", b"\0" * 15_359, b"\xff" * 15_360])
def test_what_is_no_sketch_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="sketch"):
        Sketch.from_bytes(content)


def test_an_amount_that_the_prime_divides_is_not_taken_for_nothing() -> None:
    one = Sketch()
    one.add(5, PRIME)
    with pytest.raises(SketchFull):
        one.decode()
