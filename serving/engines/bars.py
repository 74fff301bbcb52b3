"""Which tokens the rows of a batch may not write next: by a prompt's list of ids, by its grammar, or by both.

R rows;  V vocabulary
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from corpus.grammar_tokens import Vocabulary
from model import Tokenizer

from .engine import Constraint


def vocabulary_of(tokenizer: Tokenizer) -> Vocabulary:
    """The tokens as the grammar sees them."""
    special = {tokenizer.token_id(token) for token in tokenizer.special_tokens}
    texts = [tokenizer.decode([i]) for i in range(len(tokenizer))]
    return Vocabulary(tokenizer.encode, texts, special)


class Bars:
    """Of a batch of prompts. A row carries the state of its prompt's constraint, which `start` and `after` give."""

    def __init__(
        self,
        allowed: Sequence[Sequence[int] | None] | None,
        constraints: Sequence[Constraint | None] | None,
        eos_id: int,
    ) -> None:
        self._allowed = allowed
        self._constraints = constraints
        self._eos_id = eos_id
        self._listed: dict[int, NDArray[np.bool_]] = {}

    def start(self, prompt: int) -> Any:
        constraint = self._of(prompt)
        return None if constraint is None else constraint.start()

    def after(self, prompt: int, state: Any, token: int) -> Any:
        constraint = self._of(prompt)
        return None if constraint is None else constraint.after(state, token)

    def of(self, rows: Sequence[tuple[int, Any]], vocabulary: int, left: int) -> Tensor:
        """[R, V], true where a row, a prompt's number and a state, may not go on when `left` tokens may still be written."""
        barred_RV = np.zeros((len(rows), vocabulary), dtype=np.bool_)
        for row, (prompt, state) in enumerate(rows):
            constraint = self._of(prompt)
            if constraint is not None:
                mask = constraint.mask(state, left)
                np.logical_not(mask, out=barred_RV[row, : len(mask)])
                barred_RV[row, len(mask) :] = True
            if self._allowed is not None and self._allowed[prompt] is not None:
                barred_RV[row] |= self._unlisted(prompt, vocabulary)
        return torch.from_numpy(barred_RV)

    def _of(self, prompt: int) -> Constraint | None:
        return None if self._constraints is None else self._constraints[prompt]

    def _unlisted(self, prompt: int, vocabulary: int) -> NDArray[np.bool_]:
        """Barred by a prompt's list; the end never is."""
        if prompt not in self._listed:
            barred = np.ones(vocabulary, dtype=np.bool_)
            barred[[*((self._allowed or ())[prompt] or ()), self._eos_id]] = False
            self._listed[prompt] = barred
        return self._listed[prompt]
