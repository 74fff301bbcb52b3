"""In which order batches come, what they waste, and how ranks share them."""

from collections import Counter
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from token_data import make

from optim import Batcher, DataError


def batcher(dataset, batch_tokens=512, seed=0, **options):
    return Batcher(dataset, np.arange(len(dataset)), batch_tokens, seed, **options)


@pytest.fixture(scope="module")
def dataset():
    return make(np.random.default_rng(0).integers(20, 120, 3000))


def test_padding_wastes_less_than_a_twentieth(dataset):
    padded = used = 0
    for ((tokens_BT, _),) in islice(batcher(dataset, 4096)(0), 60):
        padded += tokens_BT.numel()
        used += int((tokens_BT != 0).sum())
    assert used / padded > 0.95


def test_an_epoch_shows_every_example_once(dataset):
    shown = np.concatenate(batcher(dataset).epoch(3))
    assert sorted(shown) == list(range(len(dataset)))


def test_a_weight_is_how_often_an_epoch_shows_an_example():
    dataset = make([10] * 400, weights=[2.0] * 100 + [1.0] * 100 + [0.25] * 100 + [0.0] * 100)
    shown = Counter(int(i) for epoch in range(8) for i in np.concatenate(batcher(dataset).epoch(epoch)))
    by_weight = [sum(shown[i] for i in range(start, start + 100)) / 800 for start in (0, 100, 200, 300)]
    assert by_weight[0] == 2
    assert by_weight[1] == 1
    assert by_weight[2] == pytest.approx(0.25, abs=0.06)
    assert by_weight[3] == 0


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(2, 60), min_size=1, max_size=80), st.integers(60, 400), st.integers(0, 5))
def test_batches_keep_to_the_size_and_show_everything(lengths, batch_tokens, seed):
    dataset = make(lengths)
    batches = batcher(dataset, batch_tokens, seed).epoch(0)
    sizes = [dataset.lengths[batch].max() * len(batch) for batch in batches]
    assert max(sizes) <= batch_tokens
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))


@pytest.mark.parametrize("examples", range(10, 40))
def test_no_batch_is_tiny(examples):
    batches = batcher(make([10] * examples), 100).epoch(0)
    assert min(len(batch) for batch in batches) >= 5


def test_the_order_follows_from_seed_and_step_across_epochs(dataset):
    one = list(islice(batcher(dataset).batches_of_rows(0), 1500))
    assert len(batcher(dataset).epoch(0)) < 700
    for start in (1, 500, 1100):
        later = list(islice(batcher(dataset).batches_of_rows(start), 50))
        for a, b in zip(one[start:], later, strict=False):
            np.testing.assert_array_equal(a, b)
    other = next(batcher(dataset, seed=1).batches_of_rows(0))
    assert one[0].tolist() != other.tolist()


def test_ranks_and_micro_batches_partition_the_batch(dataset):
    ((whole_BT, _),) = next(batcher(dataset)(5))
    shares = [next(batcher(dataset, rank=rank, world=2, accumulate=2)(5)) for rank in range(2)]
    assert [len(share) for share in shares] == [2, 2]
    rows = sorted(tuple(row[row != 0].tolist()) for share in shares for tokens, _ in share for row in tokens)
    assert rows == sorted(tuple(row[row != 0].tolist()) for row in whole_BT)


def test_a_batch_too_small_for_the_ranks_is_an_error():
    with pytest.raises(DataError, match="cannot be shared among 3 ranks"):
        next(batcher(make([10, 10]), world=3)(0))
