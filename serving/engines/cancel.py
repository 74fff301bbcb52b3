"""Lets the work for a caller that has gone stop between two steps of the model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from ..errors import Gone


class Cancel:
    """A flag that whoever waits may raise once, from any thread, and that who works looks at."""

    def __init__(self) -> None:
        self._set = threading.Event()
        self._lock = threading.Lock()
        self._calls: list[Callable[[], object]] = []

    def set(self) -> None:
        with self._lock:
            if self._set.is_set():
                return
            self._set.set()
            calls, self._calls = self._calls, []
        for call in calls:
            call()

    def is_set(self) -> bool:
        return self._set.is_set()

    def then(self, call: Callable[[], object]) -> Callable[[], None]:
        """Have `call` called when the flag is raised (at once if it is); returns what takes that back."""
        with self._lock:
            if not self._set.is_set():
                self._calls.append(call)
                return lambda: self._forget(call)
        call()
        return lambda: None

    def _forget(self, call: Callable[[], object]) -> None:
        with self._lock:
            if call in self._calls:
                self._calls.remove(call)


_current: ContextVar[Cancel | None] = ContextVar("cancel", default=None)


@contextmanager
def stoppable(cancel: Cancel) -> Iterator[None]:
    """Within, `check` raises Gone once `cancel` is set."""
    token = _current.set(cancel)
    try:
        yield
    finally:
        _current.reset(token)


def current() -> Cancel | None:
    """The flag of the work that this thread does."""
    return _current.get()


def check() -> None:
    """Raises Gone if nobody waits any more for what this thread does. Cheap: call it at every step."""
    cancel = _current.get()
    if cancel is not None and cancel.is_set():
        raise Gone("Nobody waits for this answer any more.")
