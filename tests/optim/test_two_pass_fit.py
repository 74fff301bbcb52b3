"""That the constants are what the fit finds; the last one takes a minute."""

import numpy as np
import pytest

from optim.two_pass import FIRST, REACH, SECOND, THREE, Squarings
from optim.two_pass_fit import FIRST_TERMS, SECOND_TERMS, evaluate, fit, minimax, three_passes


def as_array(polynomial: Squarings) -> np.ndarray:
    inner = [number for _, beta, gamma in polynomial.terms[:-1] for number in (beta, gamma)]
    return np.array(
        [polynomial.shift, polynomial.offset, *inner, polynomial.factor, *polynomial.terms[-1][1:]]
    )


def error(polynomial: Squarings, terms: tuple[int, ...], low: float, high: float) -> float:
    x = np.geomspace(low, high, 20_000)
    return float(np.abs(x * evaluate(as_array(polynomial), x**2, terms) - 1).max())


def test_the_first_pass_is_as_good_as_any_polynomial_of_its_degree():
    best = minimax(3, 1 / REACH, 1.0)[1]
    assert best - 1e-3 < error(FIRST, FIRST_TERMS, 1 / REACH, 1.0) < best + 2e-3


def test_the_three_passes_are_the_best_of_their_degree():
    for (constants, error_), polynomial in zip(three_passes(), THREE, strict=True):
        np.testing.assert_allclose(as_array(polynomial), constants, rtol=1e-4)
        assert error_ < 1


@pytest.mark.slow
def test_the_fit_finds_the_constants():
    _, first = fit(FIRST_TERMS, 1 / REACH, 1.0, starts=6)
    assert first == pytest.approx(error(FIRST, FIRST_TERMS, 1 / REACH, 1.0), abs=2e-3)
    low, high = (1 - first) * 0.995, (1 + first) * 1.01
    _, second = fit(SECOND_TERMS, low, high, starts=16)
    assert second == pytest.approx(error(SECOND, SECOND_TERMS, low, high), abs=1e-2)
