"""How clearly one result wins over the others that the candidates give.

Semantic entropy (Kuhn, Gal and Farquhar, arXiv 2302.09664) with the one judge of meaning that SQL has: two statements mean
the same where they give the same rows. Its discrete form over a beam, each candidate weighed by its length-normalised
probability, so that a long rival is not lost for being long.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sqlconf.signal import Answer, Candidate, Cost, Reading


@dataclass(frozen=True)
class Rival:
    """What stands against an answer: the likeliest statement of another result, and the probabilities of the two results."""

    candidate: Candidate
    probability: float
    answers: float

    @property
    def share(self) -> float | None:
        """The rival's of the two probabilities; None where both vanish."""
        both = self.probability + self.answers
        return self.probability / both if both > 0.0 else None


class Rivalry:
    """The answer's result against the strongest other: p / (p + q) of the whole probabilities of the two."""

    name = "rivalry"
    cost = Cost.FREE

    def measure(self, answers: Sequence[Answer]) -> list[Reading]:
        return [self._read(answer) for answer in answers]

    def _read(self, answer: Answer) -> Reading:
        if key_of(answer) not in groups_of(answer):
            return Reading(self.name, None, note="no candidates to compare with")
        rival = strongest_rival(answer)
        if rival is None:
            return Reading(self.name, 1.0, note="no candidate gives anything else")
        if rival.share is None:
            return Reading(self.name, None, note="the candidates' probabilities vanish")
        return Reading(self.name, 1 - rival.share, note=f"the strongest rival: {rival.candidate.sql}")


class ResultEntropy:
    """1 less the entropy over results, divided by the most it can be."""

    name = "result_certainty"
    cost = Cost.FREE

    def measure(self, answers: Sequence[Answer]) -> list[Reading]:
        return [self._read(answer) for answer in answers]

    def _read(self, answer: Answer) -> Reading:
        groups = groups_of(answer)
        if not groups or key_of(answer) not in groups:
            return Reading(self.name, None, note="no candidates to compare with")
        masses = [
            sum(math.exp(one.logprob / max(1, one.tokens)) for one in group) for group in groups.values()
        ]
        total, most = sum(masses), max(2, sum(map(len, groups.values())))
        if total <= 0.0:
            return Reading(self.name, None, note="the candidates' probabilities vanish")
        entropy = -sum(mass / total * math.log(mass / total) for mass in masses if mass > 0)
        return Reading(self.name, max(0.0, 1 - entropy / math.log(most)), note=f"{len(groups)} results")


def groups_of(answer: Answer) -> dict[str, list[Candidate]]:
    """The candidates that could be run, by what they give; one that was not run to its end is a group of its own."""
    found: dict[str, list[Candidate]] = {}
    for one in answer.candidates:
        if one.sql and not math.isnan(one.logprob):
            found.setdefault(one.result or f"sql: {one.sql}", []).append(one)
    return found


def key_of(answer: Answer) -> str:
    own = answer.own
    return (own.result if own is not None else None) or f"sql: {answer.sql}"


def strongest_rival(answer: Answer) -> Rival | None:
    """Of the other results the likeliest; None where there is none, or no candidate is the answer."""
    groups = groups_of(answer)
    own = groups.pop(key_of(answer), None)
    if not own or not groups:
        return None
    rival = max(groups.values(), key=_total)
    return Rival(max(rival, key=lambda one: one.logprob), _total(rival), _total(own))


def _total(group: Sequence[Candidate]) -> float:
    return sum(math.exp(min(0.0, one.logprob)) for one in group)
