"""Whether what `sqlconf.guarantee` promises is kept: thresholds are chosen again and again, on half of the answers.

A promise is about the precision of all future answers, which a half that is left to test on shows with noise of
its own, so three things are counted, each over 500 repetitions:
- `violations`: half as many answers are drawn with replacement from all, which stand for all there will ever be,
  so that their precision above the threshold is known exactly. This is what delta bounds.
- `test_half_below`: random halves, one to choose and one to test; how often the share of right answers accepted in
  the other half is under the target. Where the threshold is tight, this is noise up to half of the time, and a
  threshold that is lucky in its half makes the other unlucky: expect up to about two deltas.
- `test_half_well_below`: of these, how often by more than chance explains (exact binomial test at delta).

Predictions come from SURESQL_PREDICTIONS. Without, three worlds are simulated in which the confidence is the
logistic function of a normal z, and an answer is right with a probability that is a logistic function of z too:
there each repetition draws anew, and the precision above a threshold is an integral.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, expit

from sqlconf.errors import ConfidenceError
from sqlconf.guarantee import DELTA, guarantee
from sqlconf.metrics import PRECISIONS

from ..calibration import held_out_confidences
from ..errors import EvaluationError
from ..evaluation import Judged, read_predictions
from ..settings import Settings

REPEATS, SEED = 500, 1
MIN_ANSWERS = 40
SIMULATED = 400  # answers in each repetition's two halves together
Rows = tuple[NDArray[np.float64], NDArray[np.bool_]]  # confidences, whether right


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


def run(settings: Settings) -> dict[str, Any]:
    """Violations, refusals and coverage at each precision, for each file and all together, or simulated."""
    files = [] if not settings.predictions else settings.predictions.split(os.pathsep)
    found: dict[str, Any] = {"delta": DELTA, "repeats": REPEATS, "allowed": DELTA + 3 * _noise()}
    if not files:
        found["source"] = "simulated: SURESQL_PREDICTIONS names no files of judged predictions"
        found["sets"] = [_of_world(world) for world in WORLDS]
        return found
    found["source"] = files
    judged = {file: [one for one in read_predictions(file) if one.sql] for file in files}
    if len(files) > 1:
        judged["all together"] = [one for some in judged.values() for one in some]
    found["sets"] = [figures for name, some in judged.items() for figures in _of_file(name, some)]
    return found


def _noise() -> float:
    return float(np.sqrt(DELTA * (1 - DELTA) / REPEATS))


def _of_world(world: World) -> dict[str, Any]:
    def draw(rng: np.random.Generator) -> Rows:
        return world.draw(SIMULATED // 2, rng)

    def halves(rng: np.random.Generator) -> tuple[Rows, Rows]:
        return draw(rng), draw(rng)

    return {
        "name": world.name,
        "confidences": f"logistic(z), z normal({world.mean:g}, {world.spread:g}); "
        f"right with logistic({world.slope:g} z {world.shift:+g})",
        "n": SIMULATED,
        "precisions": _precisions(draw, world.precision_above, halves),
    }


def _of_file(name: str, judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """Once with the confidences that the answers were given with, once with a fit's on nine tenths."""
    if len(judged) < MIN_ANSWERS:
        raise EvaluationError(
            f"{name} holds {len(judged)} judged answers with SQL, too few to split.",
            f"Give at least {MIN_ANSWERS}; suresql eval makes them.",
        )
    right_N = np.array([bool(one.correct) for one in judged])
    kinds: dict[str, Sequence[float]] = {"as recorded": [one.confidence for one in judged]}
    missing = None
    try:
        kinds["cross-fitted"] = held_out_confidences(judged)
    except ConfidenceError as error:
        missing = str(error)
    found = [
        {
            "name": name,
            "confidences": kind,
            "n": len(judged),
            "accuracy": float(right_N.mean()),
            "precisions": _of_rows(np.asarray(c, dtype=np.float64), right_N),
        }
        for kind, c in kinds.items()
    ]
    if missing:
        found.append({"name": name, "confidences": "cross-fitted", "n": len(judged), "missing": missing})
    return found


def _of_rows(c_N: NDArray[np.float64], right_N: NDArray[np.bool_]) -> dict[str, Any]:
    n = len(c_N)

    def draw(rng: np.random.Generator) -> Rows:
        some = rng.integers(0, n, n // 2)
        return c_N[some], right_N[some]

    def precision_above(threshold: float) -> float:
        return float(right_N[c_N >= threshold].mean())

    def halves(rng: np.random.Generator) -> tuple[Rows, Rows]:
        order = rng.permutation(n)
        choose, test = order[: n // 2], order[n // 2 :]
        return (c_N[choose], right_N[choose]), (c_N[test], right_N[test])

    return _precisions(draw, precision_above, halves)


def _precisions(
    draw: Callable[[np.random.Generator], Rows],
    precision_above: Callable[[float], float],
    halves: Callable[[np.random.Generator], tuple[Rows, Rows]],
) -> dict[str, Any]:
    return {
        f"{precision:g}": {
            **_true_violations(draw, precision_above, precision),
            **_test_halves(halves, precision),
        }
        for precision in PRECISIONS
    }


def _true_violations(
    draw: Callable[[np.random.Generator], Rows], precision_above: Callable[[float], float], precision: float
) -> dict[str, Any]:
    rng = np.random.default_rng(SEED)
    violations = 0
    for _ in range(REPEATS):
        promise = guarantee(*_lists(draw(rng)), precision)
        if promise.threshold is not None:
            violations += precision_above(promise.threshold) < precision - 1e-9
    share = violations / REPEATS
    return {"violations": share, "kept": bool(share <= DELTA + 3 * _noise())}


def _test_halves(
    halves: Callable[[np.random.Generator], tuple[Rows, Rows]], precision: float
) -> dict[str, Any]:
    rng = np.random.default_rng(SEED)
    below = well_below = refused = 0
    covered, labels = 0.0, []
    for _ in range(REPEATS):
        choose, (test_c_N, test_right_N) = halves(rng)
        promise = guarantee(*_lists(choose), precision)
        if promise.threshold is None:
            refused += 1
            labels += [] if promise.more_labels is None else [promise.more_labels]
            continue
        accepted_N = test_c_N >= promise.threshold
        right, accepted = int(test_right_N[accepted_N].sum()), int(accepted_N.sum())
        covered += accepted / len(test_c_N)
        below += right < precision * accepted - 1e-9
        well_below += accepted > 0 and bdtr(right, accepted, precision) <= DELTA
    return {
        "test_half_below": below / REPEATS,
        "test_half_well_below": well_below / REPEATS,
        "refused": refused / REPEATS,
        "coverage": covered / REPEATS,
        "coverage_where_promised": covered / (REPEATS - refused) if refused < REPEATS else None,
        "more_labels_median": float(np.median(labels)) if labels else None,
    }


def _lists(rows: Rows) -> tuple[list[float], list[bool]]:
    return rows[0].tolist(), rows[1].tolist()
