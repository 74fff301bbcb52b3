"""Worlds in which what a confidence says and what is true are known exactly, for `promise` to draw answers from.

The confidence is the logistic function of a normal z, and an answer is right with a probability that is a logistic function of
z too: the precision above a threshold is an integral.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Rows = tuple[NDArray[np.float64], NDArray[np.bool_]]  # confidences, whether right
SHIFTS = (0.0, 0.5, 1.0)
"""Simulated databases are easier or harder than the confidence says by a normal shift of the log-odds."""
DATABASES, EACH = 40, 40


@dataclass(frozen=True)
class World:
    """z is normal with `mean` and `spread`; logistic(z) is said, logistic(slope z + shift) is true."""

    name: str
    mean: float
    spread: float
    slope: float = 1.0
    shift: float = 0.0

    def draw(self, n: int, rng: np.random.Generator) -> Rows:
        z_N = rng.normal(self.mean, self.spread, n)
        return expit(z_N), rng.random(n) < expit(self.slope * z_N + self.shift)

    def precision_above(self, threshold: float) -> float:
        """Of all answers with so much confidence, the share that is right, by the midpoint rule."""
        z_K = self.mean + self.spread * (np.arange(40_000) + 0.5 - 20_000) / 2_500
        weight_K = np.exp(-0.5 * ((z_K - self.mean) / self.spread) ** 2) * (expit(z_K) >= threshold)
        return float(weight_K @ expit(self.slope * z_K + self.shift) / weight_K.sum())


WORLDS = (
    World("calibrated", 1.0, 2.5),
    World("boasting", 1.0, 2.5, slope=0.7, shift=-0.5),
    World("mostly wrong", -1.5, 2.5),
)


def draw_databases(
    count: int, shift: float, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.bool_], list[str]]:
    """Answers on so many databases: what is said, whether it is right, and the database of each."""
    sizes = np.maximum(5, (EACH * np.exp(rng.normal(-0.125, 0.5, count))).astype(int))
    z_N = rng.normal(1.0, 2.0, int(sizes.sum()))
    own_N = np.repeat(rng.normal(0, shift, count) if shift else np.zeros(count), sizes)
    right_N = rng.random(len(z_N)) < expit(z_N - 0.3 + own_N)
    return expit(z_N), right_N, [str(one) for one in np.repeat(np.arange(count), sizes)]
