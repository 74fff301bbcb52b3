"""What the other candidates say: by their results, since two statements that give the same rows say the same.

Consistency over candidates is the best black-box family for SQL, and grounding it in execution helps (arXiv 2508.14056).
Here the candidates are a beam's, each with its probability, so that the vote is weighted rather than counted.
"""

import math
from collections.abc import Sequence

from sqlconf.signal import Answer, Candidate, Cost, Reading


class Agreement:
    """The share of the candidates' probability that falls on those with the answer's result."""

    name = "agreement"
    cost = Cost.FREE

    def measure(self, answers: Sequence[Answer]) -> list[Reading]:
        return [self._read(answer) for answer in answers]

    def _read(self, answer: Answer) -> Reading:
        same = _same(answer)
        if not same:
            return Reading(self.name, None, note="no candidates to compare with")
        total = sum(math.exp(one.logprob) for one in answer.candidates)
        if not total > 0.0:  # nor where one is not a number
            return Reading(self.name, None, note="the candidates' probabilities vanish")
        share = sum(math.exp(one.logprob) for one in same) / total
        note = f"{len(same)} of {len(answer.candidates)} candidates give these rows"
        return Reading(self.name, min(1.0, share), note=note)


class ResultProbability:
    """The probability of the answer's result: of all candidates that give it together."""

    name = "result_probability"
    cost = Cost.FREE

    def measure(self, answers: Sequence[Answer]) -> list[Reading]:
        return [self._read(answer) for answer in answers]

    def _read(self, answer: Answer) -> Reading:
        same = _same(answer)
        if not same:
            return Reading(self.name, None, note="no candidates to add up")
        probability = sum(math.exp(one.logprob) for one in same)
        if math.isnan(probability):
            return Reading(self.name, None, note="a candidate's probability is not a number")
        return Reading(self.name, min(1.0, probability))


class NonEmpty:
    """Whether the answer's result says anything: 1 for a row that is not all null, else 0."""

    name = "non_empty"
    cost = Cost.FREE

    def measure(self, answers: Sequence[Answer]) -> list[Reading]:
        return [self._read(answer) for answer in answers]

    def _read(self, answer: Answer) -> Reading:
        own = answer.own
        if own is None or own.rows is None:
            return Reading(self.name, None, note="the statement was not run to its end")
        return Reading(self.name, float(own.rows > 0), note=f"{own.rows} rows or more")


class DistinctRows:
    """Which share of the result's rows is left without repeats.

    Who asks for things wants each once: rows that repeat come of a join that multiplies them, of a condition that is missing,
    or of a DISTINCT that is.
    """

    name = "distinct_rows"
    cost = Cost.FREE

    def measure(self, answers: Sequence[Answer]) -> list[Reading]:
        return [self._read(answer) for answer in answers]

    def _read(self, answer: Answer) -> Reading:
        own = answer.own
        if own is None or own.distinct is None:
            return Reading(self.name, None, note="the statement was not run to its end")
        note = "" if own.distinct == 1.0 else f"{1 - own.distinct:.0%} of the rows repeat others"
        return Reading(self.name, own.distinct, note=note)


def _same(answer: Answer) -> list[Candidate]:
    """The candidates with the answer's result, or, where it was not run, its SQL."""
    own = answer.own
    if own is None:
        return []
    if own.result is None:
        return [one for one in answer.candidates if one.sql == answer.sql]
    return [one for one in answer.candidates if one.result == own.result]
