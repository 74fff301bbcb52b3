"""Where to stop answering: the threshold on confidence that reached a precision on known answers.

What it reached there is no promise about other questions: that is `sqlconf.guarantee`. This measures, for
the coverage at a precision in `sqlconf.metrics`.
"""

from collections.abc import Sequence

import numpy as np

from sqlconf.errors import ConfidenceError


def threshold_for_precision(
    probabilities: Sequence[float], correct: Sequence[bool], precision: float
) -> float | None:
    """The lowest t such that of the answers with probability >= t at least `precision` are right, or None."""
    if not 0.0 < precision <= 1.0:
        raise ConfidenceError(f"precision is {precision}, expected a share in (0, 1], such as 0.9")
    if len(probabilities) != len(correct):
        raise ConfidenceError(
            f"{len(probabilities)} probabilities for {len(correct)} answers; give one for each"
        )
    if not len(probabilities):
        return None
    p_N = np.asarray(probabilities, dtype=np.float64)
    if not np.isfinite(p_N).all():
        raise ConfidenceError("a probability is not a finite number; leave such answers out")
    order_N = np.argsort(-p_N, kind="stable")
    p_N, right_N = p_N[order_N], np.cumsum(np.asarray(correct, dtype=np.bool_)[order_N])
    last_of_tie_N = np.append(p_N[1:] != p_N[:-1], True)
    kept_N = np.arange(1, len(p_N) + 1)
    reached_N = last_of_tie_N & (right_N >= precision * kept_N - 1e-9)
    return float(p_N[reached_N.nonzero()[0][-1]]) if reached_N.any() else None
