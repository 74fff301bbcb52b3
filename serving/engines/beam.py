"""Beam search over a server that gives the likeliest next tokens: `decoding.beam_search` where the model is elsewhere.

vLLM has a search of its own, but it takes no mask and never stops before `max_tokens`: many times the steps that our
statements need. This one finds what the embedded engine finds, so that the confidence, calibrated on that, means the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from .engine import Constraint

Ids = tuple[int, ...]
NextTokens = Callable[[Sequence[tuple[int, Sequence[Ids]]]], Sequence[Sequence[Mapping[int, float]]]]
"""For pairs of a prompt's number and what was written after it, each text's likeliest next tokens and log-probabilities."""


@dataclass(frozen=True)
class Found:
    """Token ids and their log-probabilities; `stopped` at the end token."""

    ids: Ids
    logprobs: tuple[float, ...]
    stopped: bool

    @property
    def score(self) -> float:
        return sum(self.logprobs)


@dataclass
class _Search:
    live: list[Found] = field(default_factory=lambda: [Found((), (), False)])
    finished: list[Found] = field(default_factory=list)
    done: bool = False


def beam_search(
    next_tokens: NextTokens,
    prompts: int,
    *,
    beams: int,
    max_tokens: int,
    eos_id: int,
    allowed: Sequence[Collection[int] | None] | None = None,
    constraints: Sequence[Constraint | None] | None = None,
) -> list[list[Found]]:
    """The `beams` likeliest continuations of each of so many prompts, best first; one call of `next_tokens` a step.

    A score is the sum of unmasked log-probabilities, which never grows: a prompt is done once as many have ended as there are
    beams, and none that goes on is better than the worst of them.
    """
    searches = [_Search() for _ in range(prompts)]
    for written in range(max_tokens):
        going = [i for i, search in enumerate(searches) if not search.done]
        if not going:
            break
        answers = next_tokens([(i, [one.ids for one in searches[i].live]) for i in going])
        for i, several in zip(going, answers, strict=True):
            mask = None if allowed is None else allowed[i]
            constraint = None if constraints is None else constraints[i]
            tokens = [
                {
                    token: logprob
                    for token, logprob in likely.items()
                    if (mask is None or token == eos_id or token in mask)
                    and (fits is None or (token < len(fits) and fits[token]))
                }
                for likely, fits in zip(
                    several, _fitting(constraint, searches[i], max_tokens - written), strict=True
                )
            ]
            _step(searches[i], tokens, beams, eos_id)
    return [
        (search.finished + ([] if search.done else search.live))[:beams]
        if search.finished or search.live
        else []
        for search in searches
    ]


def _fitting(constraint: Constraint | None, search: _Search, left: int) -> list[NDArray[np.bool_] | None]:
    """For each text that goes on, over the vocabulary, what may be next."""
    if constraint is None:
        return [None] * len(search.live)
    states = [reduce(constraint.after, one.ids, constraint.start()) for one in search.live]
    return [constraint.mask(state, left) for state in states]


def _step(
    search: _Search,
    several: Sequence[Mapping[int, float]],
    beams: int,
    eos_id: int,
) -> None:
    longer = [
        Found((*one.ids, token), (*one.logprobs, logprob), token == eos_id)
        for one, tokens in zip(search.live, several, strict=True)
        for token, logprob in tokens.items()
    ]
    longer.sort(key=lambda one: -one.score)
    search.live = []
    for one in longer[: 2 * beams]:  # each beam ends in one way at most: among 2K there are K that go on
        if len(search.live) == beams:
            break
        (search.finished if one.stopped else search.live).append(one)
    search.finished = sorted(search.finished, key=lambda one: -one.score)[:beams]
    full = len(search.finished) == beams
    search.done = not search.live or (full and search.live[0].score <= search.finished[-1].score)
