"""The promise against worlds whose precision above any threshold is known, and against its own words."""

import json
import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sqlconf.errors import ConfidenceError
from sqlconf.fusion import Fusion
from sqlconf.guarantee import cross_fitted, guarantee, no_promises, promises

DELTA, SEEDS = 0.1, 300
ALLOWED = DELTA + 3 * math.sqrt(DELTA * (1 - DELTA) / SEEDS)
CURVES = {
    "calibrated": lambda c: c,
    "boasting": lambda c: 0.97 * c**2,
    "just under the target": lambda c: np.full_like(c, 0.8999),
    "at the target on top, worse below": lambda c: np.where(c > 0.5, 0.8999, 0.2),
    "worst where most sure": lambda c: np.where(c > 0.97, 0.7, np.where(c > 0.8, 0.98, 0.5)),
    "swinging about the target": lambda c: 0.9 + 0.1 * np.sin(40 * c),
    "upside down": lambda c: 1 - 0.3 * c,
}


def violations(curve, n, precision, ties=None, seeds=SEEDS):
    """The share of draws whose threshold has a true precision under the target, and the share with one."""
    grid = (np.arange(100_000) + 0.5) / 100_000
    above = np.cumsum(curve(grid)[::-1])[::-1] / np.arange(len(grid), 0, -1)
    missed = promised = 0
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        c = rng.random(n)
        right = rng.random(n) < curve(c)
        if ties:
            c = np.floor(c * ties) / ties
        threshold = guarantee(c.tolist(), right.tolist(), precision, DELTA).threshold
        if threshold is None:
            continue
        promised += 1
        if ties:
            threshold = math.ceil(threshold * ties) / ties
        missed += above[min(len(grid) - 1, int(threshold * len(grid)))] < precision
    return missed / seeds, promised / seeds


@pytest.mark.parametrize("curve", CURVES.values(), ids=CURVES)
def test_the_precision_is_missed_no_more_often_than_delta(curve) -> None:
    assert violations(curve, 100, 0.9)[0] <= ALLOWED
    assert violations(curve, 400, 0.9)[0] <= ALLOWED


@pytest.mark.parametrize("precision", [0.8, 0.95])
@pytest.mark.parametrize("ties", [None, 12])
def test_so_at_other_precisions_and_with_ties(precision, ties) -> None:
    missed, promised = violations(CURVES["calibrated"], 400, precision, ties)
    assert missed <= ALLOWED
    assert promised


def test_delta_is_not_wasted() -> None:
    """Where no threshold is good, each promise is a miss: about as many as delta allows are made."""
    missed, promised = violations(CURVES["just under the target"], 500, 0.9)
    assert missed == promised
    assert missed > 0.02


def rows(n, error_rate, share):
    """n confidences, no two alike: errors evenly spread over the upper `share`, and all wrong below it."""
    c = [(n - i - 0.5) / n for i in range(n)]
    top = round(n * share)
    return c, [i < top and math.floor((i + 1) * error_rate) == math.floor(i * error_rate) for i in range(n)]


@pytest.mark.parametrize("precision", [0.5, 0.8, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("delta", [0.2, 0.1, 0.01])
def test_where_all_are_right_the_labels_that_a_refusal_names_are_enough_and_one_fewer_is_not(
    precision, delta
) -> None:
    for n in (0, 1, 2):
        refused = guarantee(*rows(n, 0.0, 1.0), precision, delta)
        if refused.threshold is not None:
            continue
        assert refused.more_labels is not None
        assert str(refused.more_labels) in refused.note
        enough = n + refused.more_labels
        assert enough == math.ceil(math.log(delta) / math.log(precision) - 1e-9)
        assert guarantee(*rows(enough, 0.0, 1.0), precision, delta).threshold == 0.0
        assert guarantee(*rows(enough - 1, 0.0, 1.0), precision, delta).threshold is None


@pytest.mark.parametrize("n", [25, 60, 100, 350, 1000])
@pytest.mark.parametrize(
    ("precision", "error_rate"), [(0.8, 1 / 6), (0.8, 1 / 9), (0.9, 1 / 12), (0.9, 1 / 20), (0.95, 1 / 30)]
)
@pytest.mark.parametrize("share", [1.0, 0.5, 0.3])
def test_so_where_the_rate_of_errors_stays(n, precision, error_rate, share) -> None:
    refused = guarantee(*rows(n, error_rate, share), precision)
    if refused.threshold is not None or not refused.more_labels or not refused.accepted:
        return
    rate = 1 - refused.right / refused.accepted
    assert rate < 1 - precision
    assert guarantee(*rows(n + refused.more_labels, rate, share), precision).threshold is not None


def test_where_the_most_confident_are_wrong_too_often_no_number_of_labels_is_named() -> None:
    for error_rate in (0.5, 0.2):
        refused = guarantee(*rows(400, error_rate, 1.0), 0.9)
        assert (refused.threshold, refused.more_labels, refused.coverage) == (None, None, 0.0)
        assert "confidence must get better" in refused.note
    assert guarantee([0.5] * 300, [False] * 300, 0.8).more_labels is None


ROWS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.3, 0.5, 1.0]) | st.floats(0, 1), st.booleans()), max_size=120
)
TARGETS = st.sampled_from([0.3, 0.5, 0.8])


@settings(deadline=None, max_examples=60)
@given(ROWS, TARGETS)
def test_the_threshold_accepts_what_was_counted(given_rows, precision) -> None:
    c, right = [c for c, _ in given_rows], [y for _, y in given_rows]
    found = guarantee(c, right, precision)
    if found.threshold is None:
        assert (found.coverage, found.n) == (0.0, len(c))
        return
    kept = [y for c, y in given_rows if c >= found.threshold]
    assert (len(kept), sum(kept), len(kept) / len(c)) == (found.accepted, found.right, found.coverage)
    assert sum(kept) / len(kept) > precision
    errors = len(kept) - sum(kept)
    tail = sum(
        math.comb(len(kept), e) * (1 - precision) ** e * precision ** (len(kept) - e)
        for e in range(errors + 1)
    )
    assert tail <= DELTA + 1e-9


@settings(deadline=None, max_examples=60)
@given(ROWS, TARGETS, st.randoms(use_true_random=False))
def test_neither_order_nor_scale_of_the_confidences_matters(given_rows, precision, dice) -> None:
    before = guarantee([c for c, _ in given_rows], [y for _, y in given_rows], precision)
    halves = [(c * 0.5, y) for c, y in given_rows]
    assume(len({c for c, _ in halves}) == len({c for c, _ in given_rows}))
    dice.shuffle(halves)
    after = guarantee([c for c, _ in halves], [y for _, y in halves], precision)
    assert (after.accepted, after.right, after.note) == (before.accepted, before.right, before.note)


@settings(deadline=None, max_examples=60)
@given(ROWS, TARGETS, st.integers(0, 6))
def test_an_answer_that_turns_out_right_never_costs_coverage(given_rows, precision, seventh) -> None:
    c, right = [c for c, _ in given_rows], [y for _, y in given_rows]
    better = [y or j % 7 == seventh for j, y in enumerate(right)]
    assert guarantee(c, better, precision).coverage >= guarantee(c, right, precision).coverage


def test_a_looser_target_or_delta_and_more_labels_answer_more_in_the_mean() -> None:
    def coverage(n, precision, delta):
        found = []
        for seed in range(40):
            rng = np.random.default_rng(seed)
            c = rng.random(n) ** 0.4
            found.append(guarantee(c.tolist(), (rng.random(n) < c).tolist(), precision, delta).coverage)
        return np.mean(found)

    assert coverage(500, 0.8, 0.1) > coverage(500, 0.9, 0.1) > coverage(500, 0.9, 0.01)
    assert coverage(2000, 0.9, 0.1) > coverage(500, 0.9, 0.1) > coverage(100, 0.9, 0.1)


def test_one_confidence_for_all_is_taken_or_left_as_a_whole() -> None:
    assert guarantee([0.7] * 100, [True] * 96 + [False] * 4, 0.9).threshold == 0.0
    assert guarantee([0.7] * 100, [True] * 92 + [False] * 8, 0.9).threshold is None
    upper = guarantee([0.7] * 100 + [0.6] * 100, [True] * 98 + [False] * 102, 0.9)
    assert upper.accepted == 100
    assert 0.6 < upper.threshold <= 0.7


@pytest.mark.parametrize("bad", [0.0, 1.0, -0.1, math.nan])
def test_what_makes_no_sense_is_an_error(bad) -> None:
    with pytest.raises(ConfidenceError, match=r"precision is .* expected a share"):
        guarantee([0.5], [True], bad)
    with pytest.raises(ConfidenceError, match=r"delta is .* expected a share"):
        guarantee([0.5], [True], 0.9, bad)
    with pytest.raises(ConfidenceError, match="one for each"):
        guarantee([0.5], [True, False], 0.9)
    for confidence in (1.1, -0.1, math.nan, math.inf):
        with pytest.raises(ConfidenceError, match=r"not a number in 0\.\.1"):
            guarantee([confidence], [True], 0.9)


class Remembers:
    """A fit that gives 1.0 to rows that it has seen."""

    def __init__(self, readings, correct, groups) -> None:
        self.seen = {row["id"] for row in readings}
        assert len(readings) == len(correct) == len(groups)

    def probability(self, readings):
        assert all(row.keys() == {"id", "now and then"} for row in readings)
        return [float(row["id"] in self.seen) for row in readings]


def test_cross_fitting_never_shows_an_answer_to_its_own_fit() -> None:
    readings = [{"id": i} for i in range(52)] + [{"id": 52, "now and then": 0.1}]
    assert cross_fitted(Remembers, readings, [True] * 53, ["a", "b"] * 26 + ["a"]) == [0.0] * 53
    with pytest.raises(ConfidenceError, match="one for each"):
        cross_fitted(Remembers, readings, [True])
    with pytest.raises(ConfidenceError, match="cannot be divided"):
        cross_fitted(Remembers, [{}], [True])


def signals(n, seed):
    rng = np.random.default_rng(seed)
    z = rng.normal(1, 3, n)
    right = rng.random(n) < 1 / (1 + np.exp(-z))
    noisy = 1 / (1 + np.exp(-(z + rng.normal(0, 1, n))))
    return [{"a": float(a), "b": float(b)} for a, b in zip(noisy, rng.random(n), strict=True)], right


@pytest.mark.slow
def test_a_fusion_on_all_keeps_what_its_cross_fitted_parts_promise() -> None:
    seeds, missed = 60, {0.8: 0, 0.9: 0}
    future, truth = signals(20_000, 10_000)
    for seed in range(seeds):
        readings, right = signals(200, seed)
        later = np.array(Fusion.fit(readings, right).probability(future))
        confidences = cross_fitted(Fusion.fit, readings, right)
        for precision in missed:
            threshold = guarantee(confidences, right, precision).threshold
            if threshold is not None:
                missed[precision] += truth[later >= threshold].mean() < precision
    allowed = DELTA + 3 * math.sqrt(DELTA * (1 - DELTA) / seeds)
    assert max(missed.values()) / seeds <= allowed


@dataclass(frozen=True)
class Saved:
    fusion: Fusion
    body: dict


@pytest.fixture
def saved(tmp_path):
    def save(table) -> Saved:
        weights = Fusion.fit([{"a": i / 40} for i in range(40)], [i % 2 == 0 for i in range(40)]).weights
        Fusion(("a",), weights, 40, promises=table).save(tmp_path / "fusion.json")
        return Saved(
            Fusion.load(tmp_path / "fusion.json"), json.loads((tmp_path / "fusion.json").read_text())
        )

    return save


def test_the_table_survives_the_file_and_a_file_without_one_loads(saved) -> None:
    table = promises(*rows(300, 0.0, 0.5))
    assert [one.precision for one in table] == [0.8, 0.9, 0.95]
    assert all(one.threshold is not None for one in table)
    table += no_promises(3, "too few", [0.99])
    found = saved(table)
    assert found.fusion.promises == table
    assert found.body["promises"][3]["threshold"] is None
    assert found.body["promises"][3]["note"] == "too few"
    without = saved(())
    assert without.fusion.promises == ()
    assert "promises" not in without.body


def test_a_threshold_that_is_no_confidence_is_refused_by_the_file(saved) -> None:
    one = promises(*rows(300, 0.0, 0.5))[0]
    with pytest.raises(ConfidenceError, match=r"threshold is not in 0\.\.1"):
        saved((type(one)(**{**vars(one), "threshold": 1.5}),))
    with pytest.raises(ConfidenceError, match="no share"):
        saved((type(one)(**{**vars(one), "precision": 2.0}),))
