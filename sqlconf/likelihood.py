"""What the model's own token probabilities say: free, since they fall out of generating the SQL.

A plain rescaled sequence probability is a strong baseline (arXiv 2411.16742); a query is no better than
its least sure token.
"""

import math
from collections.abc import Callable, Sequence

from sqlconf.signal import Answer, Cost, Reading

Statistic = Callable[[Sequence[float]], float]


class TokenProbability:
    """Reads one statistic of the tokens' log-probabilities, as a probability: exp(statistic)."""

    cost = Cost.FREE

    def __init__(self, name: str, statistic: Statistic):
        self.name = name
        self.statistic = statistic

    def measure(self, answers: Sequence[Answer]) -> list[Reading]:
        return [self._read(answer.token_logprobs) for answer in answers]

    def _read(self, logprobs: Sequence[float]) -> Reading:
        if not logprobs:
            return Reading(self.name, None, note="the engine gave no log-probabilities")
        if any(math.isnan(value) or value > 1e-4 for value in logprobs):  # rounding may lift log 1 over 0
            return Reading(self.name, None, note="a log-probability is not a number, or is above 0")
        value = min(1.0, math.exp(self.statistic(logprobs)))
        return Reading(
            self.name, value, note=f"{len(logprobs)} tokens, least sure {math.exp(min(logprobs)):.3f}"
        )


def mean(logprobs: Sequence[float]) -> float:
    return sum(logprobs) / len(logprobs)


def likelihood() -> TokenProbability:
    """The geometric mean of the tokens' probabilities."""
    return TokenProbability("likelihood", mean)


def weakest_token() -> TokenProbability:
    """The probability of the least sure token."""
    return TokenProbability("weakest_token", min)


def whole_sequence() -> TokenProbability:
    """The probability of the whole SQL, the product of its tokens'."""
    return TokenProbability("whole_sequence", sum)
