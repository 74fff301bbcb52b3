"""Numbers and strings of the reference language, over a tokenizer's tokens: automata on characters, tabled by token."""

from collections.abc import Callable, Sequence, Set
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

START = 0
_DEAD = -1


class Table(NamedTuple):
    """In one state of an automaton: the tokens that may go on, the state after each, and whether the literal may end."""

    mask: NDArray[np.bool_]
    after: dict[int, int]
    ends: bool


def _number(state: int, character: str) -> int:
    """Behind a space (1), digits (2), the point (3), digits (4)."""
    if state == START:
        return 1 if character == " " else _DEAD
    if character in "0123456789":
        return {1: 2, 2: 2, 3: 4, 4: 4}[state]
    return 3 if state == 2 and character == "." else _DEAD


def _integer(state: int, character: str) -> int:
    """Nine digits at most (2 to 10), which any database takes for a count of rows."""
    if state == START:
        return 1 if character == " " else _DEAD
    return state + 1 if character in "0123456789" and state < 10 else _DEAD


def _string(state: int, character: str) -> int:
    """Within quotes (2), after an underscore there (3), behind a quote that ends it unless another follows (4).

    No <, which could begin what reads as a reference, and no two underscores, which `corpus.fold.unfold` has a use for.
    """
    if state == START:
        return 1 if character == " " else _DEAD
    if state in (1, 4):
        return 2 if character == "'" else _DEAD
    if character == "'":
        return 4
    if character in "<\0" or (character == "_" and state == 3):
        return _DEAD
    return 3 if character == "_" else 2


_AUTOMATA: dict[str, tuple[Callable[[int, str], int], frozenset[int]]] = {
    "NUMBER": (_number, frozenset([2, 4])),
    "INTEGER": (_integer, frozenset(range(2, 11))),
    "STRING": (_string, frozenset([4])),
}
"""Each with the states in which it may end."""


class Literals:
    """The automata of all classes of literals over one vocabulary."""

    def __init__(self, texts: Sequence[str], special: Set[int]) -> None:
        plain = [(i, text) for i, text in enumerate(texts) if i not in special and text]
        self._tables = {
            (name, state): table
            for name, (step, ends) in _AUTOMATA.items()
            for state, table in _tables(step, ends, plain, len(texts)).items()
        }

    def table(self, name: str, state: int) -> Table:
        return self._tables[name, state]


def _tables(
    step: Callable[[int, str], int], ends: frozenset[int], plain: Sequence[tuple[int, str]], size: int
) -> dict[int, Table]:
    tables: dict[int, Table] = {}
    waiting = [START]
    while waiting:
        state = waiting.pop()
        if state in tables:
            continue
        after = {token: there for token, text in plain if (there := _run(step, state, text)) != _DEAD}
        if state == START and any(there > 1 for there in after.values()):
            after = {token: there for token, there in after.items() if there > 1}  # as the tokenizer has it
        mask = np.zeros(size, dtype=np.bool_)
        mask[list(after)] = True
        tables[state] = Table(mask, after, state in ends)
        waiting += after.values()
    return tables


def _run(step: Callable[[int, str], int], state: int, text: str) -> int:
    for character in text:
        state = step(state, character)
        if state == _DEAD:
            break
    return state
