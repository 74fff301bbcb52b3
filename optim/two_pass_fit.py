"""How the constants of `optim.two_pass` were found: `python -m optim.two_pass_fit` prints them again, in a minute or two.

A polynomial x h(x^2) is to be near 1 on [low, high]. The best of its degree comes from a linear program; taking square roots of
polynomials brings it into the form of `Squarings` but for terms that the form lacks; weighted least squares, whose weights grow
where the error is large, then levels the error within the form.
"""

from __future__ import annotations

import numpy as np
from numpy.polynomial import chebyshev, polynomial
from numpy.typing import NDArray
from scipy.optimize import least_squares, linprog

from optim.two_pass import REACH, THREE_REACH

Array = NDArray[np.float64]
FIRST_TERMS, SECOND_TERMS = (0, 1), (0, 0, 1)  # which y each squaring adds, see `Squarings`


def minimax(k: int, low: float, high: float) -> tuple[Array, float]:
    """Coefficients, lowest first, of the h of degree 2^k whose x h(x^2) is nearest to 1 on [low, high]; and that error."""
    points = _points(low, high, 1500)
    argument = points**2 / high**2 * 2 - 1
    columns = points[:, None] * chebyshev.chebvander(argument, 2**k)
    rows = np.ones((len(points), 1))
    found = linprog(
        np.r_[np.zeros(2**k + 1), 1.0],
        A_ub=np.block([[columns, -rows], [-columns, -rows]]),
        b_ub=np.r_[rows.ravel(), -rows.ravel()],
        bounds=[(None, None)] * (2**k + 1) + [(0, None)],
        method="highs",
    )
    in_x = np.zeros(1)
    for coefficient in chebyshev.cheb2poly(found.x[:-1])[::-1]:
        in_x = polynomial.polyadd(polynomial.polymul(in_x, [-1, 2 / high**2]), [coefficient])
    return in_x, float(found.x[-1])


def evaluate(constants: Array, a: Array, terms: tuple[int, ...]) -> Array:
    """h on numbers; the constants are shift, offset, (beta, gamma) of each inner term, factor, beta, gamma."""
    powers, at = [a, (a - constants[0]) ** 2 + constants[1]], 2
    for i in terms[:-1]:
        powers.append(powers[-1] ** 2 + constants[at] * powers[i] + constants[at + 1])
        at += 2
    return constants[at] * powers[-1] ** 2 + constants[at + 1] * powers[terms[-1]] + constants[at + 2]


def fit(terms: tuple[int, ...], low: float, high: float, starts: int) -> tuple[Array, float]:
    """The constants with the least largest error found from several starts, and that error."""
    points, random = _points(low, high, 300), np.random.default_rng(0)
    best, least = _start(len(terms) + 1, low, high), np.inf
    first = best
    for start in range(starts):
        base, spread = (first, 0.15) if start % 2 == 0 else (best, 0.05)
        size = np.maximum(np.abs(base), 0.05)
        scaled = base / size + (spread * random.standard_normal(len(base)) if start else 0)
        weights = np.ones_like(points)
        for turn in range(20):

            def weighted(z: Array, size: Array = size, weights: Array = weights) -> Array:
                return weights * (points * evaluate(z * size, points**2, terms) - 1)

            try:
                scaled = least_squares(weighted, scaled, method="lm", max_nfev=150).x
            except ValueError:  # it ran to infinity
                break
            error = np.abs(points * evaluate(scaled * size, points**2, terms) - 1)
            if error.max() < least:
                best, least = scaled * size, float(error.max())
            elif turn == 4 and error.max() > max(0.95, 2 * least):
                break
            weights = weights * (0.15 + error / error.max())
            weights /= weights.mean()
    return best, least


def _start(k: int, low: float, high: float) -> Array:
    """The best polynomial, as far as its square roots have the form: adding to each square the y before it."""
    best, _ = minimax(k, low, high)
    factor = best[-1]
    wanted = [best / factor]
    while len(wanted[0]) > 2:
        wanted.insert(0, _root(wanted[0]))
    powers, constants = [np.array([0.0, 1.0])], [-float(wanted[0][0])]
    for j, target in enumerate(wanted[1:]):
        last = j == len(wanted) - 2
        square = (
            polynomial.polymul(wanted[0], wanted[0]) if j == 0 else polynomial.polymul(powers[-1], powers[-1])
        )
        rest = polynomial.polysub(target, square)
        if j == 0:
            constants.append(float(rest[0]))
            powers.append(polynomial.polyadd(square, [rest[0]]))
            continue
        before = powers[-2]
        rest = rest * (factor if last else 1.0)
        beta = float(rest[len(before) - 1])
        gamma = float(rest[0] - beta * before[0])
        constants += [float(factor), beta, gamma] if last else [beta, gamma]
        powers.append(polynomial.polyadd(polynomial.polyadd(square, beta * before), [gamma]))
    return np.array(constants)


def _root(monic: Array) -> Array:
    """The monic polynomial whose square agrees with this one in the upper half of its coefficients."""
    half = (len(monic) - 1) // 2
    root = np.zeros(half + 1)
    root[half] = 1
    for j in range(half - 1, -1, -1):
        root[j] = (monic[half + j] - polynomial.polymul(root, root)[half + j]) / 2
    return root


def _points(low: float, high: float, count: int) -> Array:
    """Dense at both ends of the interval."""
    even = (high + low) / 2 + (high - low) / 2 * np.cos(np.linspace(0, np.pi, count))
    return np.unique(np.r_[even, np.geomspace(low, high, count)])


def three_passes() -> list[tuple[Array, float]]:
    """The three polynomials of degree 9, each with its error; in closed form, since the form holds every one of them."""
    low, high, found = 1 / THREE_REACH, 1.0, []
    for _ in range(3):
        error = minimax(2, low, high)[1]
        found.append((_start(2, low, high), error))
        low, high = (1 - error) * 0.99, (1 + error) * 1.03  # room for rounding
    return found


def main() -> None:
    for number, (constants, error) in enumerate(three_passes()):
        print(f"three, {number + 1}: error {error:.4f}\n  {constants.tolist()}")
    first, error = fit(FIRST_TERMS, 1 / REACH, 1.0, starts=6)
    print(
        f"first: error {error:.4f}, the best of its degree {minimax(3, 1 / REACH, 1.0)[1]:.4f}\n  {first.tolist()}"
    )
    low, high = (1 - error) * 0.995, (1 + error) * 1.01  # room for rounding
    second, error = fit(SECOND_TERMS, low, high, starts=16)
    print(
        f"second: error {error:.4f}, the best of its degree {minimax(4, low, high)[1]:.4f}\n  {second.tolist()}"
    )


if __name__ == "__main__":
    main()
