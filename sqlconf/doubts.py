"""What is uncertain about an answer: the clause, the token, the signal that speaks most against it, and the rival statement."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sqlconf.rivals import strongest_rival
from sqlconf.signal import Answer, Reading

SURE = 0.9
"""A token, clause or result more probable than this is not worth a word."""
_CLAUSES = ("select", "from", "where", "group", "having", "order", "limit", "union", "intersect", "except")


class Explained(Protocol):
    def contributions(self, readings: Mapping[str, float | None]) -> Mapping[str, float]: ...


@dataclass(frozen=True)
class Doubt:
    """`kind` is clause, token, signal or rival; `what` names it, `note` says why in a sentence."""

    kind: str
    what: str
    note: str


def doubts(answer: Answer, readings: Sequence[Reading], fusion: Explained | None = None) -> list[Doubt]:
    """The gravest of each kind that there is; none where all is sure."""
    found = [*_of_tokens(answer), *_of_signals(readings, fusion)]
    rival = strongest_rival(answer)
    if rival is not None and rival.share is not None and rival.share >= 1 - SURE:
        note = f"gives other rows, and has {rival.share:.0%} of the two's probability"
        found.append(Doubt("rival", rival.candidate.sql, note))
    return found


def _of_tokens(answer: Answer) -> list[Doubt]:
    logprobs, tokens = answer.token_logprobs, answer.tokens
    if not logprobs or len(tokens) != len(logprobs) or any(math.isnan(one) for one in logprobs):
        return []
    parts: dict[str, float] = {}
    clause = clause_of_weakest = "select"
    weakest = min(range(len(logprobs)), key=lambda i: logprobs[i])
    for i, (token, logprob) in enumerate(zip(tokens, logprobs, strict=True)):
        word = token.strip().casefold()
        clause = word if word in _CLAUSES else clause
        parts[clause] = parts.get(clause, 0.0) + logprob
        if i == weakest:
            clause_of_weakest = clause
    found = []
    worst = min(parts, key=lambda name: parts[name])
    if parts[worst] < math.log(SURE):
        found.append(
            Doubt("clause", worst.upper(), f"has a probability of {math.exp(parts[worst]):.2f} together")
        )
    if logprobs[weakest] < math.log(SURE):
        note = f"in {clause_of_weakest.upper()}, with a probability of {math.exp(logprobs[weakest]):.2f}"
        found.append(Doubt("token", tokens[weakest].strip() or tokens[weakest], note))
    return found


def _of_signals(readings: Sequence[Reading], fusion: Explained | None) -> list[Doubt]:
    if fusion is None:
        return []
    each = fusion.contributions({one.name: one.value for one in readings})
    if not each:
        return []
    name = min(each, key=lambda one: each[one])
    if each[name] > -0.25:  # a quarter of a unit of log-odds: hardly anything
        return []
    reading = next(one for one in readings if one.name == name)
    value = "missing" if reading.value is None else f"{reading.value:.2f}"
    note = f"is {value}, which takes {-each[name]:.1f} off the log-odds; {reading.note}".rstrip("; ")
    return [Doubt("signal", name, note)]
