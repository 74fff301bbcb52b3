"""What the diagrams of a confidence are drawn from: reliability, and risk against coverage."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sqlconf.errors import ConfidenceError


@dataclass(frozen=True)
class Bin:
    """Answers of like confidence."""

    n: int
    confidence: float
    """Their mean."""
    right: float
    """The share of them that is right: equal to `confidence` where it means what it says."""


def reliability(confidences: Sequence[float], correct: Sequence[bool], bins: int = 10) -> list[Bin]:
    """Bins of equally many answers, from the least confident to the most (Guo et al., arXiv 1706.04599)."""
    if len(confidences) != len(correct):
        raise ConfidenceError(f"{len(confidences)} confidences for {len(correct)} answers; give one for each")
    c_N, right_N = np.asarray(confidences, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    order_N = np.argsort(c_N, kind="stable")
    parts = [part for part in np.array_split(order_N, bins) if len(part)]
    return [Bin(len(part), float(c_N[part].mean()), float(right_N[part].mean())) for part in parts]


def risk_coverage(confidences: Sequence[float], correct: Sequence[bool]) -> list[tuple[float, float]]:
    """(coverage, error rate) of the k most confident answers, k from 1 to all (Geifman and El-Yaniv 2017); ties are taken
    together.
    """
    if len(confidences) != len(correct):
        raise ConfidenceError(f"{len(confidences)} confidences for {len(correct)} answers; give one for each")
    if not len(confidences):
        return []
    c_N, wrong_N = np.asarray(confidences, dtype=np.float64), ~np.asarray(correct, dtype=np.bool_)
    order_N = np.argsort(-c_N, kind="stable")
    errors_N = np.cumsum(wrong_N[order_N])
    last_of_tie_N = np.append(c_N[order_N][1:] != c_N[order_N][:-1], True)
    kept_K = last_of_tie_N.nonzero()[0] + 1
    return [(float(k / len(c_N)), float(errors_N[k - 1] / k)) for k in kept_K]
