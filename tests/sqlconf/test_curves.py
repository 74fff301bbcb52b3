"""The points of the diagrams, against counts by hand and against the area that `metrics.aurc` gives."""

import random

import pytest

from sqlconf.curves import reliability, risk_coverage
from sqlconf.errors import ConfidenceError
from sqlconf.metrics import aurc


def test_reliability_is_mean_confidence_beside_the_share_of_right_answers() -> None:
    low, high = reliability([0.1, 0.9, 0.3, 0.7], [False, True, True, True], bins=2)
    assert (low.n, low.confidence, low.right) == (2, pytest.approx(0.2), 0.5)
    assert (high.n, high.confidence, high.right) == (2, pytest.approx(0.8), 1.0)


def test_more_bins_than_answers_are_as_many_as_answers() -> None:
    assert len(reliability([0.5], [True], bins=10)) == 1
    assert reliability([], []) == []


def test_the_mean_of_the_risks_is_the_area_that_the_metric_gives() -> None:
    dice = random.Random(0)
    c = [dice.random() for _ in range(200)]
    right = [dice.random() < p for p in c]
    points = risk_coverage(c, right)
    assert points[-1] == (1.0, pytest.approx(1 - sum(right) / 200))
    assert sum(risk for _, risk in points) / 200 == pytest.approx(aurc(c, right).value)


def test_equal_confidences_are_one_point() -> None:
    assert risk_coverage([0.5, 0.5, 0.9], [True, False, True]) == [(1 / 3, 0.0), (1.0, 1 / 3)]
    assert risk_coverage([], []) == []


def test_lists_that_differ_in_length_are_refused() -> None:
    for curve in (reliability, risk_coverage):
        with pytest.raises(ConfidenceError, match="give one for each"):
            curve([0.5], [])
