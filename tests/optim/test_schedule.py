"""Warm-up, stable, decay."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from optim import lr_scale, wsd
from optim.schedule import decay_start

runs = st.tuples(st.integers(1, 500), st.integers(0, 100), st.floats(0, 1))


def test_a_run_of_ten_steps_by_hand():
    scales = [lr_scale(step, total=10, warmup=4, decay_fraction=0.4) for step in range(11)]
    assert scales == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0])


@given(runs)
def test_it_lies_in_0_to_1_and_every_step_of_the_run_counts(run):
    total, warmup, decay_fraction = run
    scales = [lr_scale(step, total, warmup, decay_fraction) for step in range(total)]
    assert all(0 < scale <= 1 for scale in scales)
    assert lr_scale(total, total, warmup, decay_fraction) == 0


@given(runs)
def test_it_never_rises_again_once_it_fell(run):
    total, warmup, decay_fraction = run
    scales = [lr_scale(step, total, warmup, decay_fraction) for step in range(total + 1)]
    peak = scales.index(max(scales))
    assert scales[: peak + 1] == sorted(scales[: peak + 1])
    assert scales[peak:] == sorted(scales[peak:], reverse=True)


@given(runs, st.integers(1, 500))
def test_until_its_decay_begins_a_run_does_not_know_its_length(run, longer):
    total, warmup, decay_fraction = run
    for step in range(decay_start(total, decay_fraction) + 1):
        if step < total:
            assert lr_scale(step, total, warmup, decay_fraction) == pytest.approx(
                lr_scale(step, total + longer, warmup, 0.0)
            )


def test_as_a_scheduler_it_scales_each_groups_own_rate():
    a, b = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([{"params": [a], "lr": 2.0}, {"params": [b], "lr": 0.5}])
    scheduler = wsd(optimizer, total=4, warmup=2, decay_fraction=0.5)
    seen = []
    for _ in range(4):
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    assert seen == [[1.0, 0.25], [2.0, 0.5], [2.0, 0.5], [1.0, 0.25]]
