"""Each metric against its definition, written out plainly here, over random confidences with ties."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sqlconf import metrics
from sqlconf.abstain import threshold_for_precision
from sqlconf.errors import ConfidenceError

ROW = st.tuples(st.sampled_from([0.0, 0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0]) | st.floats(0, 1), st.booleans())
ROWS = st.lists(ROW, min_size=1, max_size=40)
PLAIN = [
    metrics.auroc, metrics.auprc_errors, metrics.aurc, metrics.brier, metrics.ece_equal_mass, metrics.ece_equal_width,
]  # fmt: skip


def split(rows):
    return [c for c, _ in rows], [y for _, y in rows]


@given(ROWS)
def test_auroc_is_the_share_of_pairs_in_the_right_order(rows) -> None:
    right = [c for c, y in rows if y]
    wrong = [c for c, y in rows if not y]
    assume(right and wrong)
    pairs = [(r > w) + (r == w) / 2 for r, w in itertools.product(right, wrong)]
    assert metrics.auroc(*split(rows)).value == pytest.approx(sum(pairs) / len(pairs))


@given(st.lists(ROW, min_size=1, max_size=6))
def test_aurc_is_the_mean_error_rate_over_coverages_and_over_orders_of_ties(rows) -> None:
    areas = []
    for order in itertools.permutations(range(len(rows))):
        ranked = [rows[i] for i in order]
        if any(a[0] < b[0] for a, b in itertools.pairwise(ranked)):
            continue
        wrong = list(itertools.accumulate(not y for _, y in ranked))
        areas.append(sum(w / k for k, w in enumerate(wrong, 1)) / len(rows))
    assert metrics.aurc(*split(rows)).value == pytest.approx(sum(areas) / len(areas))


@given(ROWS)
def test_brier_is_the_mean_squared_distance(rows) -> None:
    assert metrics.brier(*split(rows)).value == pytest.approx(sum((c - y) ** 2 for c, y in rows) / len(rows))


@given(ROWS, st.randoms())
def test_every_metric_is_in_bounds_or_has_a_reason_and_no_order_matters(rows, dice) -> None:
    shuffled = rows.copy()
    dice.shuffle(shuffled)
    for metric in PLAIN:
        score, again = metric(*split(rows)), metric(*split(shuffled))
        assert (score.value is None) == bool(score.reason)
        assert (score.value is None) == (again.value is None)
        if score.value is not None:
            assert 0 <= score.value <= 1
            assert score.value == pytest.approx(again.value)


def test_ece_of_what_means_what_it_says_is_zero() -> None:
    confidences, correct = [], []
    for tenth in range(10):
        share = tenth / 10 + 0.05
        confidences += [share] * 100
        correct += [i < round(share * 100) for i in range(100)]
    assert metrics.ece_equal_width(confidences, correct).value == pytest.approx(0, abs=1e-12)
    assert metrics.ece_equal_mass(confidences, correct).value == pytest.approx(0, abs=1e-12)


@given(st.floats(0, 1), st.integers(1, 50), st.integers(0, 50))
def test_ece_of_one_confidence_is_its_distance_to_the_accuracy(confidence, n, right) -> None:
    assume(right <= n)
    rows = [confidence] * n, [i < right for i in range(n)]
    expected = pytest.approx(abs(confidence - right / n), abs=1e-9)
    assert metrics.ece_equal_mass(*rows).value == expected
    assert metrics.ece_equal_width(*rows).value == expected


def test_equal_mass_bins_see_what_equal_width_bins_blur() -> None:
    confidences = [float(c) for c in np.linspace(0.9, 0.999, 200)]
    correct = [c < 0.95 or i % 10 != 0 for i, c in enumerate(confidences)]  # shy below 0.95, boasting above
    assert metrics.ece_equal_width(confidences, correct).value < 0.01
    assert metrics.ece_equal_mass(confidences, correct).value > 0.05


@given(ROWS, st.sampled_from([0.5, 0.8, 0.9, 0.95, 1.0]))
def test_the_threshold_reaches_its_precision_with_the_most_coverage(rows, precision) -> None:
    confidences, correct = split(rows)
    reached = {}
    for t in set(confidences):
        kept = [y for c, y in rows if c >= t]
        if sum(kept) / len(kept) >= precision - 1e-12:
            reached[t] = len(kept) / len(rows)
    threshold = threshold_for_precision(confidences, correct, precision)
    assert threshold == (min(reached) if reached else None)
    coverage = metrics.coverage_at_precision(confidences, correct, precision).value
    assert coverage == pytest.approx(max(reached.values(), default=0.0))


@pytest.mark.parametrize(
    ("correct", "reason"), [([True] * 3, "all 3 answers are right"), ([False] * 3, "are wrong")]
)
def test_one_class_leaves_ranking_undefined_and_says_so(correct, reason) -> None:
    for metric in (metrics.auroc, metrics.auprc_errors):
        score = metric([0.1, 0.5, 0.9], correct)
        assert score.value is None
        assert reason in score.reason
    found = metrics.report([0.1, 0.5, 0.9], correct)
    assert set(found["undefined"]) == {"auroc", "auprc_errors"}
    assert found["brier"] is not None


def test_the_report_of_nothing_and_of_one_answer() -> None:
    empty = metrics.report([], [])
    assert empty["n"] == 0
    assert empty["accuracy"] is None
    assert set(empty["undefined"].values()) == {"there are no answers"}
    one = metrics.report([0.8], [True])
    assert (one["n"], one["accuracy"], one["coverage_at_0.95"]) == (1, 1.0, 1.0)
    assert one["ece_equal_mass"] == pytest.approx(0.2)


@pytest.mark.parametrize("bad", [1.1, -0.1, math.nan, math.inf])
def test_what_is_no_confidence_is_refused(bad) -> None:
    for metric in [*PLAIN, metrics.report]:
        with pytest.raises(ConfidenceError, match=r"expected a number in 0\.\.1"):
            metric([0.5, bad], [True, False])


def test_lengths_must_agree_and_precision_be_a_share() -> None:
    with pytest.raises(ConfidenceError, match="1 confidences for 2 answers"):
        metrics.auroc([0.5], [True, False])
    with pytest.raises(ConfidenceError, match="one for each"):
        threshold_for_precision([0.5], [], 0.9)
    for precision in (0.0, 1.5, math.nan):
        with pytest.raises(ConfidenceError, match="expected a share"):
            threshold_for_precision([0.5], [True], precision)
    with pytest.raises(ConfidenceError, match="finite"):
        threshold_for_precision([math.nan], [True], 0.9)
    assert threshold_for_precision([], [], 0.9) is None


@given(
    st.lists(
        st.tuples(st.floats(0, 1), st.booleans()), min_size=10, max_size=40, unique_by=lambda row: row[0]
    )
)
def test_without_ties_equal_mass_bins_are_tenths_of_the_sorted_answers(rows) -> None:
    rows = sorted(rows)[: len(rows) // 10 * 10]
    tenths = [rows[i * len(rows) // 10 : (i + 1) * len(rows) // 10] for i in range(10)]
    gaps = [abs(sum(c - y for c, y in tenth)) for tenth in tenths]
    assert metrics.ece_equal_mass(*split(rows)).value == pytest.approx(sum(gaps) / len(rows), abs=1e-12)
