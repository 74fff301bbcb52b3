"""Work on a batch of answers that several signals read, done once."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from sqlconf.signal import Answer

Found = TypeVar("Found")


class Once(Generic[Found]):
    """Calls `find` with a batch, and keeps what it found until it is asked about another: signals are measured one by one."""

    def __init__(self, find: Callable[[Sequence[Answer]], list[Found]]):
        self._find = find
        self._last: tuple[tuple[Answer, ...], list[Found]] = ((), [])

    def __call__(self, answers: Sequence[Answer]) -> list[Found]:
        known, found = self._last
        if len(known) != len(answers) or any(a is not b for a, b in zip(known, answers, strict=True)):
            found = self._find(answers)
            self._last = (tuple(answers), found)
        return found
