"""What the experiments of `bench` read off their runs, and that a run is what it says: real text, a real small model."""

import json
import math

import numpy as np
import pytest

from model import PRESETS
from serving.bench import run
from serving.bench.experiment import Experiment
from serving.bench.library_text import library_text
from serving.bench.record import record
from serving.bench.run_cache import RunCache
from serving.bench.short_run import RunSettings, ShortRun
from serving.bench.stability import overshoot, spikes
from serving.bench.tokens_to_loss import compare, power_law, tokens_ratio
from serving.errors import EvaluationError
from serving.settings import load_settings

BUDGETS = (100, 140, 200, 300)


@pytest.fixture(scope="module")
def text():
    return library_text(512, 100_000)


def settings(kind, **given):
    given = {"rows": 2, "length": 32, "warmup": 2, "decay_fraction": 0.5, "held_out_batches": 2, **given}
    return RunSettings(kind, 0.02, 0, PRESETS["tiny"], **given)


def a_power_law(factor, exponent):
    return {budget: 9.0 * (budget * factor) ** -exponent for budget in BUDGETS}


@pytest.mark.parametrize("share", [0.4, 0.52, 0.9])
def test_an_optimizer_that_needs_a_known_share_of_the_tokens_is_found_to_need_it(share):
    adamw, muonclip = a_power_law(1.0, 0.1), a_power_law(1 / share, 0.1)
    assert tokens_ratio(adamw, muonclip) == pytest.approx(share)
    found = compare([adamw, adamw], [muonclip, muonclip])
    assert found["tokens_ratio"] == found["tokens_ratio_fitted"] == share
    assert found["direct"]["reached_by_all_seeds"] == (share <= found["direct"]["muonclip_share_of_tokens"])


def test_a_loss_that_is_never_reached_has_no_ratio():
    adamw = a_power_law(1.0, 0.1)
    assert tokens_ratio(adamw, {budget: loss + 2 for budget, loss in adamw.items()}) is None
    assert tokens_ratio(adamw, dict.fromkeys(adamw, math.inf)) is None


def test_a_power_law_is_recovered_from_its_points():
    intercept, slope, rms = power_law(a_power_law(1.0, 0.07))
    assert (math.exp(intercept), slope, rms) == (
        pytest.approx(9.0),
        pytest.approx(-0.07),
        pytest.approx(0, abs=1e-9),
    )


def test_a_spike_is_a_loss_well_above_the_steps_before_it_or_no_number():
    smooth = [5 - step / 100 for step in range(200)]
    assert spikes(smooth) == []
    assert spikes([*smooth[:120], smooth[120] + 1, *smooth[121:]]) == [120]
    assert spikes([*smooth[:150], math.nan, *smooth[151:]]) == [150]


def test_the_overshoot_counts_from_the_first_step_above_tau():
    found = overshoot([[10.0, 20.0], [50.0, 110.0], [102.0, 40.0], [90.0, 99.0]], tau=100.0)
    assert found["first_step_above_tau"] == 1
    assert (found["largest"], found["median"]) == (0.1, 0.02)
    assert overshoot([[10.0]], tau=100.0)["first_step_above_tau"] is None


def test_a_budget_that_branches_off_a_longer_run_is_the_run_of_that_budget_alone(text):
    for kind in ("adamw", "muonclip"):
        trunk, alone = ShortRun(settings(kind), text), ShortRun(settings(kind), text)
        trunk.train(4, total=8)  # where the decay of a run of 8 steps begins
        branch = trunk.branch()
        trunk.train(6, total=12)
        branch.train(8, total=8)
        alone.train(8, total=8)
        assert branch.held_out_loss() == alone.held_out_loss()
        assert branch.watched.loss == alone.watched.loss[4:]


def test_three_optimizers_begin_with_the_same_weights_and_batches(text):
    firsts = []
    for kind in ("adamw", "muon", "muonclip"):
        one = ShortRun(settings(kind), text)
        one.train(1, total=4)
        firsts.append((one.watched.loss[0], one.watched.max_logit_H[0]))
    assert firsts[0] == firsts[1] == firsts[2]


def test_muonclip_shrinks_the_heads_that_plain_muon_lets_grow(text):
    asked = {"weight_decay": 0.0, "decay_fraction": 0.0, "tau": 0.05}
    plain, clipped = ShortRun(settings("muon", **asked), text), ShortRun(settings("muonclip", **asked), text)
    for one in (plain, clipped):
        one.train(12, total=12)
    assert sum(clipped.watched.clipped_heads) > 0 and sum(plain.watched.clipped_heads) == 0
    assert max(clipped.watched.max_logit_H[-1]) < max(plain.watched.max_logit_H[-1])


def test_an_epoch_shows_every_window_once_in_an_order_of_the_seed(text):
    rows, length = 4, 256
    steps = (len(text.train_N) - 1) // length // rows
    first, other = (
        [tuple(row.tolist()) for step in range(steps) for row in text.batch(step, rows, length, seed)[0]]
        for seed in (1, 2)
    )
    windows = {tuple(text.train_N[start : start + length]) for start in range(0, len(text.train_N), length)}
    assert len(first) == steps * rows and set(first) <= windows and first != other
    assert len(set(first)) > 0.9 * len(first)  # some files hold the same text
    inputs, targets = text.batch(0, rows, length, 1)
    assert inputs[:, 1:].equal(targets[:, :-1])


def test_text_is_described_by_what_it_is(text):
    again = library_text(512, 100_000)
    assert again.described == text.described and np.array_equal(again.train_N, text.train_N)
    assert text.described["held_out_files"] >= 1 and len(text.described["sha256"]) == 64


def test_a_key_names_all_that_was_chosen_and_the_text():
    keys = {
        settings("muon").key("a", 5),
        settings("muonclip").key("a", 5),
        settings("muon").key("b", 5),
        settings("muon").key("a", 6),
        settings("muon", tau=7.0).key("a", 5),
    }
    assert len(keys) == 5


def test_a_finished_run_is_not_repeated_and_one_that_was_cut_short_is(tmp_path):
    path = tmp_path / "runs.jsonl"
    assert RunCache(path).get_or_run("a", lambda: {"loss": 1.0})["loss"] == 1.0
    with path.open("a") as file:
        file.write('{"key": "b", "lo')  # a crash in the middle of the line
    again = RunCache(path)
    assert again.get_or_run("a", pytest.fail)["loss"] == 1.0
    assert again.get_or_run("b", lambda: {"loss": 2.0})["loss"] == 2.0
    assert [json.loads(line)["key"] for line in path.read_text().splitlines()] == ["a", "b"]


def test_a_cache_that_is_no_cache_is_named_with_its_line(tmp_path):
    path = tmp_path / "runs.jsonl"
    path.write_text('{"key": "a"}\nhello\n')
    with pytest.raises(EvaluationError, match=r"Line 2 of .*runs\.jsonl"):
        RunCache(path)


def test_a_benchmark_that_is_no_experiment_refuses_an_experiments_options(tmp_path):
    with pytest.raises(EvaluationError, match="takes no --out"):
        run("guard", load_settings(), Experiment(tmp_path, plots=False))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["stability", "tokens"])
def test_a_quick_experiment_prints_its_figures_and_draws(name, tmp_path):
    pytest.importorskip("matplotlib")
    found = run(name, load_settings(), Experiment(tmp_path, quick=True))
    assert json.loads(json.dumps(found)) == found
    assert all((tmp_path / figure).stat().st_size < 100_000 for figure in found["figures"]["figures"])
    table = record(found)
    assert found["date"] in table and str(found["commit"]) in table and "MuonClip" in table
    again = run(name, load_settings(), Experiment(tmp_path, quick=True))
    assert again["figures"] == found["figures"]  # from the cache
