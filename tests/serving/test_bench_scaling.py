"""The law of loss against size and tokens: what it is fitted from it gives back, and it splits a budget at its best."""

import pytest

from serving.bench.scaling import Law, Point, fit, foretell
from serving.errors import EvaluationError

LAW = Law(floor=0.3, n0=2e4, alpha=0.35, d0=3e5, beta=0.6)
SIZES = {"xs": 300_000, "s": 1_000_000, "nano": 3_600_000}


def _points(law: Law) -> list[Point]:
    return [
        Point(name, size, tokens, law(size, tokens))
        for name, size in SIZES.items()
        for tokens in (200_000, 500_000, 1_000_000, 4_000_000)
    ]


def test_a_law_is_found_again_in_what_it_gives() -> None:
    found = fit(_points(LAW))
    for size in SIZES.values():
        for tokens in (300_000, 3_000_000):
            assert found(size, tokens) == pytest.approx(LAW(size, tokens), rel=0.01)


def test_the_foretold_split_is_better_than_its_neighbours() -> None:
    best = foretell(LAW, 1e18)
    for factor in (0.5, 2.0):
        size = best["parameters"] * factor
        assert LAW(size, 1e18 / (6 * size)) >= best["loss"]


def test_too_few_runs_for_the_law_are_refused() -> None:
    with pytest.raises(EvaluationError, match="five parameters"):
        fit(_points(LAW)[:5])
