"""A threshold with a promise: what is at least so confident is right at least so often, also on new questions.

Learn then Test (Angelopoulos, Bates, Candès, Jordan and Lei 2021, arXiv 2110.01052) with fixed-sequence
testing, for the selective classifier of Geifman and El-Yaniv (2017, arXiv 1705.08500), from which it takes
the exact binomial bound; walking in sequence spends all of delta on each threshold, where their binary
search divides it.

The thresholds are those between the answers' own confidences, from the strictest to the loosest: they depend
on how many are accepted, never on which are right. Given that k answers lie above a threshold, the number
right among them is binomial with the precision there, so P(errors <= seen) under the target precision is an
exact p-value (the threshold passes where Clopper and Pearson's lower bound reaches the target). The walk
begins at a number of answers that the size of the set alone decides (`first_threshold`), goes on while p <= delta, and
the last threshold that passed is the answer.

Why the whole walk fails at most delta of the time: to accept too much it must either begin at a bad
threshold, or step from good ones over the point at which the precision crosses the target. The precision
there is the target, between two such points it is the target on average, and so the errors counted on arrival
are binomial with it, whatever the counts. That needs no precision that rises with confidence. With tied
confidences it is exact where the precision, once under the target, stays under it at looser thresholds.

What is promised: over sets of labelled questions drawn as these were, in at least 1 - delta of them the
precision of all future accepted answers, drawn in the same way, is at least the target. So: the same
databases in the same proportions, the same model and signals. Of questions on a database that is not among
the labelled, and of ten answers on one afternoon, it says nothing; and each row of a table holds by itself.
The confidences must not come from a fit on the same labels: see `cross_fitted`.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr
from sklearn.model_selection import KFold, LeaveOneGroupOut

from sqlconf.errors import ConfidenceError
from sqlconf.metrics import PRECISIONS

DELTA = 0.1
FOLDS = 10
BROAD = 6  # the walk begins at a sixth of the answers or less, if it can,
STRICT = 20  # and at a twentieth or more
MAX_ERRORS = 9  # that the first threshold leaves room for, in a set where a twentieth is less
STEPS = 1.02 ** np.arange(400)  # between numbers of accepted answers that are tried
Readings = Mapping[str, float | None]


class Fitted(Protocol):
    def probability(self, readings: Sequence[Readings]) -> list[float]: ...


@dataclass(frozen=True)
class Promise:
    """Accept what has confidence >= `threshold`; None where the labelled answers do not support a promise."""

    precision: float
    """The target: the share of accepted answers that is right."""
    delta: float
    """How likely the threshold is to miss it, over draws of the labelled answers."""
    threshold: float | None
    coverage: float
    """The share of the labelled answers that is accepted."""
    n: int
    """Labelled answers."""
    accepted: int
    right: int
    """Of the accepted; where nothing is promised, of the most confident that were looked at."""
    more_labels: int | None
    """About how many more labelled answers would support it, if as large a share of the most confident goes
    on being right; None where it is supported, or where more labels of this kind would not do.
    """
    note: str
    """What it rests on, or why there is none, in a sentence."""
    unit: Literal["questions", "databases"] = "questions"
    """For further questions on the databases that were labelled, or for further databases (`sqlconf.group_guarantee`)."""


def guarantee(
    confidences: Sequence[float], correct: Sequence[bool], precision: float, delta: float = DELTA
) -> Promise:
    """The lowest threshold that the walk reaches; a Promise without one, and with the reason, if there is none.

    Raises ConfidenceError for arguments that make no sense, never for data that are too few or too bad.
    """
    c_N, right_N = checked(confidences, correct, precision, delta)
    order_N = np.argsort(-c_N, kind="stable")
    c_N, errors_N = c_N[order_N], np.cumsum(~right_N[order_N])
    first = first_threshold(len(c_N), precision, delta)
    last_of_tie_N = np.append(c_N[1:] != c_N[:-1], True)[: len(c_N)]
    accepted_K = last_of_tie_N.nonzero()[0] + 1
    accepted_K = accepted_K[accepted_K >= first]
    errors_K = errors_N[accepted_K - 1]
    passed_K = bdtr(errors_K, accepted_K, 1 - precision) <= delta
    steps = int(np.argmin(passed_K)) if not passed_K.all() else len(passed_K)
    if not steps:
        return _refused(len(c_N), first, accepted_K, errors_K, precision, delta)
    accepted, errors = int(accepted_K[steps - 1]), int(errors_K[steps - 1])
    everything = accepted == len(c_N)
    return Promise(
        precision,
        delta,
        # of the confidences between the last accepted and the first refused, the test was of all
        0.0 if everything else float(np.nextafter(c_N[accepted], np.inf)),
        accepted / len(c_N),
        len(c_N),
        accepted,
        accepted - errors,
        None,
        f"of {len(c_N)} labelled answers the {accepted} most confident are accepted, {accepted - errors} of "
        "them right",
    )


def promises(
    confidences: Sequence[float],
    correct: Sequence[bool],
    precisions: Sequence[float] = PRECISIONS,
    delta: float = DELTA,
) -> tuple[Promise, ...]:
    """`guarantee` at several precisions; each holds with 1 - delta by itself, not all of them together."""
    return tuple(guarantee(confidences, correct, precision, delta) for precision in precisions)


def no_promises(
    n: int, reason: str, precisions: Sequence[float] = PRECISIONS, delta: float = DELTA
) -> tuple[Promise, ...]:
    """A table of refusals, where there are not even confidences to look at."""
    return tuple(Promise(one, delta, None, 0.0, n, 0, 0, None, reason) for one in precisions)


def cross_fitted(
    fit: Callable[..., Fitted],
    readings: Sequence[Readings],
    correct: Sequence[bool],
    groups: Sequence[str] | None = None,
    seed: int = 0,
    whole_groups: bool = False,
) -> list[float]:
    """Each answer's confidence by a `fit`, such as Fusion.fit, on nine tenths of the answers without it.

    Tenths are of questions, not of databases: the promise is about the databases that the labels are of, and
    the confidence of a database that the fit never saw is on another scale than that of the fit on all.
    The fit on all is not quite any of the ten, so a promise made on these confidences and used with it is exact
    only as far as they agree. With `whole_groups` each group is left out by itself: such confidences are
    what a new database gets.
    """
    if len(readings) != len(correct) or (groups is not None and len(groups) != len(correct)):
        raise ConfidenceError("readings, right or wrong, and groups differ in number; give one for each")
    if len(readings) < 2:
        raise ConfidenceError(f"{len(readings)} answers cannot be divided; label more")
    names = sorted(set().union(*readings))
    rows = [{name: row.get(name) for name in names} for row in readings]
    found_N = np.empty(len(rows))
    if whole_groups:
        if groups is None or len(set(groups)) < 3:
            raise ConfidenceError(
                "to leave whole groups out, give the groups of answers, three or more of them"
            )
        folds = LeaveOneGroupOut().split(rows, groups=list(groups))
    else:
        folds = KFold(min(FOLDS, len(rows)), shuffle=True, random_state=seed).split(rows)
    for train_M, test_M in folds:
        inside = None if groups is None else [groups[i] for i in train_M]
        one = fit(
            [rows[i] for i in train_M],
            [correct[i] for i in train_M],
            inside if inside is not None and len(set(inside)) > 1 else None,
        )
        found_N[test_M] = one.probability([rows[i] for i in test_M])
    return [float(p) for p in found_N]


def checked(
    confidences: Sequence[float], correct: Sequence[bool], precision: float, delta: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    for name, share in (("precision", precision), ("delta", delta)):
        if not 0.0 < share < 1.0:
            raise ConfidenceError(f"{name} is {share}, expected a share between 0 and 1, such as 0.9")
    if len(confidences) != len(correct):
        raise ConfidenceError(f"{len(confidences)} confidences for {len(correct)} answers; give one for each")
    c_N = np.asarray(confidences, dtype=np.float64)
    if not ((c_N >= 0) & (c_N <= 1)).all():
        raise ConfidenceError("a confidence is not a number in 0..1; leave such answers out")
    return c_N, np.asarray(correct, dtype=np.bool_)


def first_threshold(n: int, precision: float, delta: float) -> int:
    """How many answers the first threshold accepts: enough to pass with some errors if n allows it.

    With none allowed, one error near the top ends the walk; with many, that many answers must be good. A sixth
    and nine errors did well in simulations of confidences that rank well, that are flat on top, and that are
    good for few answers alone; no rule was the best for all three.
    """
    least = _least(0, precision, delta)
    for errors in range(1, MAX_ERRORS + 1):
        enough = _least(errors, precision, delta)
        least = enough if enough * BROAD <= n else least
    return max(least, n // STRICT)


@lru_cache(maxsize=1000)
def _least(errors: int, precision: float, delta: float) -> int:
    """The fewest accepted answers that pass with so many errors."""
    high = 1
    while bdtr(errors, high, 1 - precision) > delta or high <= errors:
        high *= 2
    return bisect_left(
        range(high), True, lo=errors + 1, key=lambda k: bdtr(errors, k, 1 - precision) <= delta
    )


def _refused(
    n: int, first: int, accepted_K: NDArray[Any], errors_K: NDArray[Any], precision: float, delta: float
) -> Promise:
    if n < first:
        accepted = right = 0
        more: int | None = first - n
        note = (
            f"{n} labelled answers are too few: {first} would be needed even if all were right, "
            f"so label at least {more} more"
        )
    else:
        accepted, errors = int(accepted_K[0]), int(errors_K[0])
        right = accepted - errors
        enough = _enough(n, errors / accepted, precision, delta)
        more = None if enough is None else enough - n
        note = f"of the {accepted} most confident of {n} labelled answers {right} are right, "
        if errors >= (1 - precision) * accepted:
            note += (
                f"which is not {precision:.0%}: labels alone will not help, the confidence must get better"
            )
        elif more is None:
            note += (
                f"too near {precision:.0%} for {STRICT} times as many labels to show that it is reached, if it "
                "goes on like this; with twice as many one would know better"
            )
        else:
            note += (
                f"too few to be sure of {precision:.0%}; if it goes on like this, "
                f"about {more:,} more labelled answers would do"
            )
    return Promise(precision, delta, None, 0.0, n, accepted, right, more, note)


def _enough(n: int, error_rate: float, precision: float, delta: float) -> int | None:
    """About the fewest labelled answers, more than n, whose first threshold passes at this rate of errors.

    None for more than twenty times n: that far ahead, the rate that was seen says nothing.
    """
    if error_rate >= 1 - precision:
        return None
    known = [(_least(errors, precision, delta), errors) for errors in range(1, MAX_ERRORS + 1)]
    for accepted, errors in known:
        if accepted * BROAD > n and round(error_rate * accepted) <= errors:
            return accepted * BROAD
    k_K = np.ceil((max(known[-1][0], n // STRICT) + 1) * STEPS).astype(np.int64)
    k_K = k_K[k_K <= n]
    passes_K = bdtr(np.rint(error_rate * k_K), k_K, 1 - precision) <= delta
    return int(k_K[np.argmax(passes_K)]) * STRICT if passes_K.any() else None
