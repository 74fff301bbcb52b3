"""What stays of the SQL's probability when the schema is shown in other orders.

The order of tables and columns says nothing, so what a model holds for likely in one order only, it holds for no good reason:
an ensemble of one model over inputs that mean the same (for questions to language models: arXiv 2402.13904 and kin).
"""

import math
from collections.abc import Sequence

from sqlconf.once import Once
from sqlconf.signal import Answer, Cost, Model, Reading, one_each


class Views:
    """Asks the model once for the answers' probabilities in other orders; its signals read them."""

    def __init__(self, model: Model):
        self._model = model
        self.whole = Once(self._ask)
        """For each answer the logarithm of the whole SQL's probability in each order, the first one's included."""

    def signals(self) -> "tuple[ViewProbability, ViewSpread]":
        return ViewProbability(self), ViewSpread(self)

    def _ask(self, answers: Sequence[Answer]) -> list[list[float] | None]:
        views = one_each("lists of views", self._model.view_logprobs(answers), answers)
        return [_sums(answer, some) for answer, some in zip(answers, views, strict=True)]


class ViewProbability:
    """The geometric mean over the orders of the whole SQL's probability."""

    name = "view_probability"
    cost = Cost.SCORING

    def __init__(self, views: Views):
        self._views = views

    def measure(self, answers: Sequence[Answer]) -> list[Reading]:
        return [
            _read(self.name, sums, sum(sums) / len(sums) if sums else 0.0)
            for sums in self._views.whole(answers)
        ]


class ViewSpread:
    """How little the probability hangs on the order: the lowest over the highest of them."""

    name = "view_steadiness"
    cost = Cost.SCORING

    def __init__(self, views: Views):
        self._views = views

    def measure(self, answers: Sequence[Answer]) -> list[Reading]:
        return [
            _read(self.name, sums, min(sums) - max(sums) if sums else 0.0)
            for sums in self._views.whole(answers)
        ]


def _sums(answer: Answer, views: Sequence[Sequence[float]] | None) -> list[float] | None:
    some = [logprobs for logprobs in (answer.token_logprobs, *(views or ())) if logprobs]
    return [sum(logprobs) for logprobs in some] if views and len(some) > 1 else None


def _read(name: str, sums: Sequence[float] | None, logprob: float) -> Reading:
    if not sums:
        return Reading(name, None, note="the model does not score the SQL in other orders")
    if any(math.isnan(one) for one in sums):
        return Reading(name, None, note="a log-probability is not a number")
    shown = ", ".join(f"{math.exp(min(0.0, one)):.3f}" for one in sums)
    return Reading(name, min(1.0, math.exp(min(0.0, logprob))), note=f"in {len(sums)} orders: {shown}")
