"""Two gloo processes train as one does on the same micro-batches, however the model lies on them."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from optim import ConfigError
from optim.layout import Layout
from optim.worlds import in_world
from serving.bench.random_run import LAYOUTS, RandomRun, difference


def by_one(run, steps):
    """In a process of its own: what forks ranks should not have computed before."""
    return in_world(1, run.train, steps)[0]


@pytest.fixture(scope="module")
def alone():
    return by_one(RandomRun(), 4)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_two_processes_equal_one(layout, alone):
    first, second = in_world(2, RandomRun(layout).train, 4)
    assert difference(first, second) == 0.0
    assert difference(first, alone) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_after_twenty_steps_too(layout):
    first, second = in_world(2, RandomRun(layout).train, 20)
    assert difference(first, second) == 0.0
    assert difference(first, by_one(RandomRun(), 20)) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("layout", [Layout(2, 2), Layout(4, 2), Layout(4, 4)], ids=str)
def test_four_processes_equal_one(layout):
    run = RandomRun(layout, micro_batches=4)
    assert difference(in_world(4, run.train, 6)[0], by_one(RandomRun(micro_batches=4), 6)) < 1e-6


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1)])
@pytest.mark.parametrize("name", ["FSDP2", "both"])
def test_a_run_goes_on_on_another_number_of_processes(tmp_path, name, before, after, alone):
    runs = {1: RandomRun(folder=tmp_path), 2: RandomRun(LAYOUTS[name], folder=tmp_path)}
    in_world(before, replace(runs[before], every=2).train, 2)
    last = in_world(after, runs[after].train, 4)[0]
    assert last["start"] == 2
    assert difference({**last, "losses": [*alone["losses"][:2], *last["losses"]]}, alone) < 1e-6
    assert last["data"] == alone["data"]


def test_heads_are_clipped_alike():
    run = RandomRun(LAYOUTS["both"], tau=0.002)
    first, second = in_world(2, run.train, 3)
    alone = by_one(replace(run, layout=Layout(1, 1)), 3)
    assert first["clipped"] == second["clipped"] == alone["clipped"] > 0
    assert difference(first, alone) < 1e-6


@pytest.mark.parametrize("poisoned", [0, 1])
def test_an_infinite_gradient_on_one_rank_makes_every_rank_skip_the_step(poisoned):
    untouched = by_one(RandomRun(), 0)["weights"]
    for result in in_world(2, RandomRun(LAYOUTS["FSDP2"], poisoned=poisoned).train, 2):
        assert result["skipped"] == 2
        for name, weight in result["weights"].items():
            assert torch.equal(weight, untouched[name]), name


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_no_rank_repeats_another_ones_newton_schulz(layout):
    """Counted where they are done: the products of both ranks in a step add up to those of one process."""
    (alone,) = in_world(1, products_of_a_step, Layout())
    first, second = in_world(2, products_of_a_step, layout)
    assert first + second == alone
    assert max(first, second) < 0.6 * alone


def products_of_a_step(layout):
    model, optimizer = RandomRun(layout).build()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    with FlopCounterMode(display=False) as counter:
        optimizer.step()
    return counter.get_total_flops()


@pytest.mark.parametrize(
    ("layout", "key"),
    [(Layout(shard=3), "shard is 3"), (Layout(experts=3), "experts is 3")],
    ids=["shard", "experts"],
)
def test_a_world_that_does_not_divide_so_is_refused(layout, key):
    with pytest.raises(ConfigError, match=rf"parallel\.{key}, but this run has 4 processes.*a multiple of 3"):
        layout.on(4)
