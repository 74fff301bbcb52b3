"""What serving asks of a language model, wherever it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True)
class Completion:
    """A text that the model wrote.

    `logprobs` are natural logarithms, one for each of `token_ids`, the end-of-text token included where the
    text ended by itself; they are of the whole distribution, before any mask and at temperature 1.
    """

    text: str
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    prompt_tokens: int
    finish_reason: FinishReason
    tokens: tuple[str, ...] = ()
    """The text of each of `token_ids`, for people to read; empty where the engine does not tell."""

    @property
    def logprob(self) -> float:
        return sum(self.logprobs)


class Constraint(Protocol):
    """What may be written after one prompt, token by token; its states are its own affair. `corpus.grammar_tokens` has one."""

    def start(self) -> Any: ...

    def mask(self, state: Any, left: int) -> NDArray[np.bool_]:
        """Over the vocabulary: which token may be next, when `left` may still be written, the end included."""
        ...

    def after(self, state: Any, token: int) -> Any: ...


class Engine(Protocol):
    """A language model that continues texts and scores them. Safe to call from several threads."""

    @property
    def model_name(self) -> str: ...

    def generate(
        self,
        prompts: Sequence[str],
        *,
        max_tokens: int,
        n: int = 1,
        temperature: float = 0.0,
        seed: int | None = None,
        allowed: Sequence[Sequence[int] | None] | None = None,
        constraints: Sequence[Constraint | None] | None = None,
    ) -> list[list[Completion]]:
        """`n` continuations of each prompt, likeliest first.

        At temperature 0 the one greedy continuation, or for n > 1 the n best of a beam search of that width;
        above 0, n samples. `allowed` holds for each prompt the ids that may be written (the end always may);
        `constraints` say it for each token anew.
        Raises PromptTooLong, or EngineError where the model fails.
        """
        ...

    def score(self, prompts: Sequence[str], continuations: Sequence[str]) -> list[tuple[float, ...]]:
        """Log-probabilities of each continuation's tokens after its prompt, one tuple for each pair."""
        ...

    def close(self) -> None:
        """Let go of what it holds: connections, processes. Nothing may be asked afterwards."""
        ...
