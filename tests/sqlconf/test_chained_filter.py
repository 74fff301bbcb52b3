"""A filter that knows its strangers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqlconf.chained_filter import ChainedFilter, FilteredContents, hashed, information_bound_bits
from sqlconf.errors import ConfidenceError
from sqlconf.grounding import Grounding
from sqlconf.signal import Answer

texts = st.sets(st.text(max_size=8), max_size=60)


@given(texts, texts, st.sampled_from([1, 4, 8]))
def test_every_positive_passes_and_no_known_negative(some, others, bits):
    positives, negatives = hashed(sorted(some)), hashed(sorted(others - some))
    found = ChainedFilter.build(positives, negatives, bits)
    assert found.contains(positives).all()
    assert not found.contains(negatives).any()


def test_strangers_pass_as_seldom_as_the_bits_say():
    positives, negatives = hashed(f"p{i}" for i in range(5_000)), hashed(f"n{i}" for i in range(20_000))
    for bits in (4, 8):
        found = ChainedFilter.build(positives, negatives, bits)
        passed = found.contains(hashed(f"u{i}" for i in range(50_000))).mean()
        assert passed < 1.5 * 2.0 ** -(bits + 1) + 1e-3


def test_its_room_is_near_the_information_bound():
    positives, negatives = hashed(f"p{i}" for i in range(20_000)), hashed(f"n{i}" for i in range(400_000))
    bound = information_bound_bits(20_000, 400_000)
    assert bound < ChainedFilter.build(positives, negatives, 4).space_bits < 1.4 * bound


def test_a_key_of_both_kinds_is_refused():
    with pytest.raises(ConfidenceError, match="positive and negative"):
        ChainedFilter.build(hashed(["a"]), hashed(["a", "b"]))


def test_without_negatives_one_stage_is_enough():
    found = ChainedFilter.build(hashed(["a", "b"]), np.empty(0, dtype=np.uint64))
    assert found.exact is None and found.contains(hashed(["a", "b"])).all()


def test_grounding_takes_it_for_the_contents(supply):
    contents = FilteredContents({"acme": {("suppliers", "name")}, "1999": {("suppliers", "foundedIn")}})
    assert set(contents.find(" ACME ")) == {("suppliers", "name")}
    wrong = Answer("who is acme", "SELECT id FROM suppliers WHERE foundedIn = 'Acme'", supply)
    right = Answer("who is acme", "SELECT id FROM suppliers WHERE name = 'Acme'", supply)
    first, second = Grounding(lambda _: contents).measure([wrong, right])
    assert "is not in foundedIn but in suppliers.name" in first.note
    assert second.value > first.value


def test_of_nothing_it_finds_nothing():
    assert FilteredContents({}).find("anything") == {}
