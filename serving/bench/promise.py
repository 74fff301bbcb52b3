"""Whether what `sqlconf.guarantee` promises is kept: thresholds are chosen again and again, on half of the answers.

A promise is about the precision of all future answers, which a half that is left to test on shows with noise of
its own, so three things are counted, each over 500 repetitions:
- `violations`: half as many answers are drawn with replacement from all, which stand for all there will ever be,
  so that their precision above the threshold is known exactly. This is what delta bounds.
- `test_half_below`: random halves, one to choose and one to test; how often the share of right answers accepted in
  the other half is under the target. Where the threshold is tight, this is noise up to half of the time, and a
  threshold that is lucky in its half makes the other unlucky: expect up to about two deltas.
- `test_half_well_below`: of these, how often by more than chance explains (exact binomial test at delta).

The promise for new databases (`sqlconf.group_guarantee`) is counted in the same way, with databases drawn instead of answers:
half of them to choose on, with confidences of fits that saw nothing of the answer's database, and the others to test.

Predictions come from SURESQL_PREDICTIONS. Without, three worlds are simulated in which the confidence is the
logistic function of a normal z, and an answer is right with a probability that is a logistic function of z too:
there each repetition draws anew, and the precision above a threshold is an integral.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr

from sqlconf.errors import ConfidenceError
from sqlconf.group_guarantee import guarantee_for_new_groups
from sqlconf.guarantee import DELTA, guarantee
from sqlconf.metrics import PRECISIONS

from ..calibration import databases_of, held_out_confidences
from ..errors import EvaluationError
from ..predictions import Judged, read_predictions
from ..settings import Settings
from .simulated_worlds import DATABASES, EACH, SHIFTS, WORLDS, Rows, World, draw_databases

REPEATS, SEED = 500, 1
MIN_ANSWERS = 40
SIMULATED = 400  # answers in each repetition's two halves together
NEW = "for new databases"


def run(settings: Settings) -> dict[str, Any]:
    """Violations, refusals and coverage at each precision, for each file and all together, or simulated."""
    files = [] if not settings.predictions else settings.predictions.split(os.pathsep)
    found: dict[str, Any] = {"delta": DELTA, "repeats": REPEATS, "allowed": DELTA + 3 * _noise()}
    if not files:
        found["source"] = "simulated: SURESQL_PREDICTIONS names no files of judged predictions"
        found["sets"] = [_of_world(world) for world in WORLDS]
        found["sets"] += [_of_databases_world(shift) for shift in SHIFTS]
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
    try:
        unseen = np.asarray(held_out_confidences(judged, new_databases=True), dtype=np.float64)
        found.append(_of_databases(name, unseen, right_N, np.array(databases_of(judged))))
    except ConfidenceError as error:
        found.append({"name": name, "confidences": NEW, "n": len(judged), "missing": str(error)})
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


def _of_databases(
    name: str, c_N: NDArray[np.float64], right_N: NDArray[np.bool_], group_N: NDArray[np.str_]
) -> dict[str, Any]:
    """Half of the databases to choose on, the others to test: the promise for new ones."""
    names = np.unique(group_N)
    members = [np.flatnonzero(group_N == one) for one in names]
    figures: dict[str, Any] = {}
    for precision in PRECISIONS:
        rng = np.random.default_rng(SEED)
        missed = below = refused = 0
        coverage = []
        for _ in range(REPEATS):
            drawn = [members[i] for i in rng.integers(0, len(names), len(names) // 2)]
            chosen = guarantee_for_new_groups(*_drawn(c_N, right_N, drawn), precision)
            if chosen.threshold is not None:
                missed += float(right_N[c_N >= chosen.threshold].mean()) < precision - 1e-9
            order = rng.permutation(len(names))
            choose, test = ([members[i] for i in half] for half in np.array_split(order, 2))
            promise = guarantee_for_new_groups(*_drawn(c_N, right_N, choose), precision)
            if promise.threshold is None:
                refused += 1
                continue
            some_M = np.concatenate(test)
            accepted_M = some_M[c_N[some_M] >= promise.threshold]
            coverage.append(len(accepted_M) / len(some_M))
            below += len(accepted_M) > 0 and float(right_N[accepted_M].mean()) < precision - 1e-9
        share = missed / REPEATS
        figures[f"{precision:g}"] = {
            "violations": share,
            "kept": bool(share <= DELTA + 3 * _noise()),
            "test_half_below": below / REPEATS,
            "refused": refused / REPEATS,
            "coverage_where_promised": float(np.mean(coverage)) if coverage else None,
        }
    return {
        "name": name,
        "confidences": NEW,
        "n": len(c_N),
        "databases": len(names),
        "accuracy": float(right_N.mean()),
        "precisions": figures,
    }


def _drawn(
    c_N: NDArray[np.float64], right_N: NDArray[np.bool_], groups: Sequence[NDArray[np.intp]]
) -> tuple[list[float], list[bool], list[str]]:
    """The answers on the drawn databases, one that was drawn twice being two."""
    rows = [i for group in groups for i in group.tolist()]
    names = [f"{number}" for number, group in enumerate(groups) for _ in group]
    return c_N[rows].tolist(), right_N[rows].tolist(), names


def _of_databases_world(shift: float) -> dict[str, Any]:
    """Violations over databases drawn anew each time; what is true above a threshold is of many more databases."""
    truth_c, truth_right, _ = draw_databases(50 * DATABASES, shift, np.random.default_rng(SEED - 1))
    order_N = np.argsort(-truth_c)
    precision_N = np.cumsum(truth_right[order_N]) / np.arange(1, len(order_N) + 1)
    falling_N = -truth_c[order_N]
    figures = {}
    for precision in PRECISIONS:
        rng = np.random.default_rng(SEED)
        missed = refused = 0
        for _ in range(REPEATS):
            c_N, right_N, names = draw_databases(DATABASES // 2, shift, rng)
            threshold = guarantee_for_new_groups(c_N.tolist(), right_N.tolist(), names, precision).threshold
            if threshold is None:
                refused += 1
            else:
                last = int(np.searchsorted(falling_N, -threshold, side="right")) - 1
                missed += precision_N[max(0, last)] < precision
        share = missed / REPEATS
        figures[f"{precision:g}"] = {
            "violations": share,
            "kept": bool(share <= DELTA + 3 * _noise()),
            "refused": refused / REPEATS,
        }
    return {
        "name": f"databases that differ by {shift:g}",
        "confidences": f"{NEW}: logistic(z), z normal(1, 2); right with logistic(z - 0.3 + a shift of the database)",
        "n": DATABASES // 2 * EACH,
        "precisions": figures,
    }
