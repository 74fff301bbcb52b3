"""How good a confidence is: whether it ranks right over wrong, means what it says, and pays when abstaining.

Every function takes confidences in 0..1 and whether each answer was right, and gives a Score: a number,
or None with the reason why it is undefined. Order of the rows and order among ties never matter.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from sqlconf.abstain import threshold_for_precision
from sqlconf.errors import ConfidenceError

BINS = 10
PRECISIONS = (0.8, 0.9, 0.95)
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    value: float | None
    reason: str = ""


def auroc(confidences: Sequence[float], correct: Sequence[bool]) -> Score:
    """The chance that a right answer is more confident than a wrong one; a tie counts half."""
    c_N, y_N = _arrays(confidences, correct)
    return _one_class(y_N) or Score(float(roc_auc_score(y_N, c_N)))


def auprc_errors(confidences: Sequence[float], correct: Sequence[bool]) -> Score:
    """Average precision at finding the wrong answers by low confidence; chance level is the share of
    errors.
    """
    c_N, y_N = _arrays(confidences, correct)
    return _one_class(y_N) or Score(float(average_precision_score(~y_N, -c_N)))


def aurc(confidences: Sequence[float], correct: Sequence[bool]) -> Score:
    """Area under risk-coverage: the error rate of the k most confident answers, averaged over k.

    Lower is better. Geifman and El-Yaniv 2017. Within a tie the errors count as spread evenly, which is
    their mean over all orders.
    """
    c_N, y_N = _arrays(confidences, correct)
    if not len(c_N):
        return Score(None, "there are no answers")
    _, block_N, size_K = np.unique(-c_N, return_inverse=True, return_counts=True)
    wrong_K = np.bincount(block_N, weights=~y_N)
    errors_N = np.cumsum(np.repeat(wrong_K / size_K, size_K))
    return Score(float(np.mean(errors_N / np.arange(1, len(c_N) + 1))))


def brier(confidences: Sequence[float], correct: Sequence[bool]) -> Score:
    """Mean squared distance between confidence and outcome (0 or 1). Lower is better."""
    c_N, y_N = _arrays(confidences, correct)
    if not len(c_N):
        return Score(None, "there are no answers")
    return Score(float(brier_score_loss(y_N, c_N, pos_label=True)))


def ece_equal_width(confidences: Sequence[float], correct: Sequence[bool]) -> Score:
    """Expected calibration error over ten bins of equal width (Guo et al., arXiv 1706.04599)."""
    c_N, y_N = _arrays(confidences, correct)
    return _ece(c_N, y_N, np.minimum((c_N * BINS).astype(int), BINS - 1))


def ece_equal_mass(confidences: Sequence[float], correct: Sequence[bool]) -> Score:
    """The same over ten bins with equally many answers each; equal confidences share a bin."""
    c_N, y_N = _arrays(confidences, correct)
    if not len(c_N):
        return Score(None, "there are no answers")
    _, block_N, size_K = np.unique(c_N, return_inverse=True, return_counts=True)
    middle_K = np.cumsum(size_K) - size_K / 2
    return _ece(c_N, y_N, (middle_K[block_N] * BINS / len(c_N)).astype(int))


def coverage_at_precision(confidences: Sequence[float], correct: Sequence[bool], precision: float) -> Score:
    """The largest share of answers that a threshold on confidence keeps while this share of them is right."""
    c_N, _ = _arrays(confidences, correct)
    if not len(c_N):
        return Score(None, "there are no answers")
    threshold = threshold_for_precision(confidences, correct, precision)
    return Score(0.0 if threshold is None else float(np.mean(c_N >= threshold)))


def report(confidences: Sequence[float], correct: Sequence[bool]) -> dict[str, object]:
    """All of them, ready for JSON; `undefined` holds the reason of each that is None."""
    plain = (auroc, auprc_errors, aurc, brier, ece_equal_mass, ece_equal_width)
    found = {score.__name__: score(confidences, correct) for score in plain}
    for precision in PRECISIONS:
        found[f"coverage_at_{precision:g}"] = coverage_at_precision(confidences, correct, precision)
    share = sum(map(bool, correct)) / len(correct) if len(correct) else None
    return {
        "n": len(correct),
        "accuracy": share,
        **{name: score.value for name, score in found.items()},
        "undefined": {name: score.reason for name, score in found.items() if score.value is None},
    }


def _arrays(confidences: Sequence[float], correct: Sequence[bool]) -> tuple[Floats, NDArray[np.bool_]]:
    if len(confidences) != len(correct):
        raise ConfidenceError(f"{len(confidences)} confidences for {len(correct)} answers; give one for each")
    for value in confidences:
        if not (math.isfinite(value) and 0.0 <= value <= 1.0):
            raise ConfidenceError(f"a confidence is {value}, expected a number in 0..1")
    return np.asarray(confidences, dtype=np.float64), np.asarray(correct, dtype=np.bool_)


def _one_class(y_N: NDArray[np.bool_]) -> Score | None:
    if not len(y_N):
        return Score(None, "there are no answers")
    if y_N.all() or not y_N.any():
        return Score(None, f"all {len(y_N)} answers are {'right' if y_N.all() else 'wrong'}")
    return None


def _ece(c_N: Floats, y_N: NDArray[np.bool_], bin_N: NDArray[np.int_]) -> Score:
    if not len(c_N):
        return Score(None, "there are no answers")
    gap_K = np.bincount(bin_N, weights=c_N - y_N)
    return Score(float(np.abs(gap_K).sum() / len(c_N)))
