"""A promise for databases that nobody labelled: the unit that is drawn is the database, not the question.

Questions on one database are right or wrong together, so that answers to a thousand questions on ten databases tell about the
eleventh hardly more than ten numbers do. For a threshold, each database gives one number: its errors among the accepted, less
what the target allows for so many. Where the databases' mean of it is above 0, the target is missed, and a one-sided t-test
over databases asks whether it can be (the linearised ratio estimator of cluster sampling; Cochran 1977, chapter 3). One
database more is put in that nobody saw, as bad as the worst seen: errors come in few databases, a skew for which the t-test
alone is too easy. The exact binomial test of `sqlconf.guarantee` must pass as well, and the walk over thresholds is its own.

This is not exact as `guarantee` is: a bound without assumptions (a betting one, arXiv 2010.09686) promises nothing at all from
some twenty databases. What holds it up is simulation: `suresql bench promise` draws whole databases, some far worse than others,
and counts how often the promise fails. What is promised: over sets of databases drawn as these were, in at least 1 - delta of
them the share of right answers among all accepted ones on all further databases is at least the target. Of a single one it
says nothing: the worst may be far under it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr
from scipy.stats import t as student

from sqlconf.errors import ConfidenceError
from sqlconf.guarantee import DELTA, Promise, checked, first_threshold
from sqlconf.metrics import PRECISIONS

MIN_GROUPS = 8
MOST_TIMES = 20
"""Beyond so many times the databases that there are, what was seen says nothing."""


def guarantee_for_new_groups(
    confidences: Sequence[float],
    correct: Sequence[bool],
    groups: Sequence[str],
    precision: float,
    delta: float = DELTA,
) -> Promise:
    """The lowest threshold that the walk reaches, or a refusal with its reason. The confidences must be of fits that saw
    nothing of the answer's group (`cross_fitted` with `whole_groups`).

    Raises ConfidenceError for arguments that make no sense, never for data that are too few or too bad.
    """
    c_N, right_N = checked(confidences, correct, precision, delta)
    if len(groups) != len(c_N):
        raise ConfidenceError(f"{len(groups)} groups for {len(c_N)} answers; give one for each")
    names, group_N = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    G = len(names)
    if G < MIN_GROUPS:
        note = (
            f"answers on {G} databases are too few to tell about others; label some on {MIN_GROUPS - G} more"
        )
        return _refusal(len(c_N), precision, delta, note, None)
    order_N = np.argsort(-c_N, kind="stable")
    c_N, right_N, group_N = c_N[order_N], right_N[order_N], group_N[order_N]
    last_of_tie_N = np.append(c_N[1:] != c_N[:-1], True)
    accepted_K = last_of_tie_N.nonzero()[0] + 1
    accepted_K = accepted_K[accepted_K >= first_threshold(len(c_N), precision, delta)]
    if not len(accepted_K):
        return _refusal(
            len(c_N), precision, delta, f"{len(c_N)} labelled answers are too few for any threshold", None
        )
    excess_KG = _excess(right_N, group_N, G, precision)[accepted_K - 1]
    errors_K = np.cumsum(~right_N)[accepted_K - 1]
    t_K = _t(excess_KG)
    passed_K = (student.cdf(t_K, G) <= delta) & (bdtr(errors_K, accepted_K, 1 - precision) <= delta)
    steps = len(passed_K) if passed_K.all() else int(np.argmin(passed_K))
    if not steps:
        return _refused(len(c_N), G, int(accepted_K[0]), int(errors_K[0]), float(t_K[0]), precision, delta)
    accepted, errors = int(accepted_K[steps - 1]), int(errors_K[steps - 1])
    threshold = 0.0 if accepted == len(c_N) else float(np.nextafter(c_N[accepted], np.inf))
    note = (
        f"of {len(c_N)} labelled answers on {G} databases the {accepted} most confident are accepted, "
        f"{accepted - errors} of them right"
    )
    return Promise(
        precision, delta, threshold, accepted / len(c_N), len(c_N), accepted, accepted - errors, None, note, "databases"
    )  # fmt: skip


def promises_for_new_groups(
    confidences: Sequence[float],
    correct: Sequence[bool],
    groups: Sequence[str],
    precisions: Sequence[float] = PRECISIONS,
    delta: float = DELTA,
) -> tuple[Promise, ...]:
    """`guarantee_for_new_groups` at several precisions; each holds by itself, not all of them together."""
    return tuple(guarantee_for_new_groups(confidences, correct, groups, one, delta) for one in precisions)


def _excess(
    right_N: NDArray[np.bool_], group_N: NDArray[np.int_], G: int, precision: float
) -> NDArray[np.float64]:
    """[N, G]: of the n most confident, each group's errors less what the target allows."""
    each_NG = np.zeros((len(right_N), G))
    each_NG[np.arange(len(right_N)), group_N] = ~right_N - (1 - precision)
    return np.cumsum(each_NG, axis=0)


def _t(excess_KG: NDArray[np.float64]) -> NDArray[np.float64]:
    """Student's t of the mean excess of each threshold, with the unseen group: far under 0 is good."""
    unseen_K1 = np.maximum(excess_KG.max(axis=1, keepdims=True), 0.0)
    all_KH = np.hstack([excess_KG, unseen_K1])
    deviation_K = all_KH.std(axis=1, ddof=1)
    total_K = all_KH.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        t_K = total_K / (np.sqrt(all_KH.shape[1]) * deviation_K)
    return np.where(deviation_K > 0, t_K, np.where(total_K < 0, -np.inf, np.inf))


def _refused(n: int, G: int, accepted: int, errors: int, t: float, precision: float, delta: float) -> Promise:
    right = accepted - errors
    note = f"of the {accepted} most confident of {n} labelled answers on {G} databases {right} are right, "
    enough = None
    if t < 0:
        counts = np.unique(np.ceil(G * np.linspace(1, MOST_TIMES, 400)).astype(int))
        will = student.cdf(t * np.sqrt(counts / G), counts) <= delta
        enough = int(counts[np.argmax(will)]) if will.any() else None
    if right < precision * accepted:
        note += f"which is not {precision:.0%}: labels alone will not help, the confidence must get better"
    elif enough is None or enough <= G:
        note += f"too near {precision:.0%}, or too unevenly over the databases, to be sure of it on others"
    else:
        note += (
            f"too unevenly over the databases to be sure of {precision:.0%} on others; if it goes on like this, "
            f"labels on about {enough - G} more databases would do"
        )
        return _refusal(n, precision, delta, note, (enough - G) * max(1, n // G), accepted, right)
    return _refusal(n, precision, delta, note, None, accepted, right)


def _refusal(
    n: int, precision: float, delta: float, note: str, more: int | None, accepted: int = 0, right: int = 0
) -> Promise:
    return Promise(precision, delta, None, 0.0, n, accepted, right, more, note, "databases")
