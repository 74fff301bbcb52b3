"""Tells whoever listens to a question what is known of its answer so far, from the thread that works on its batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from sqlconf.signal import Answer, Cost, Reading, Signal

Listener = Callable[[str, dict[str, Any]], None]
"""Is given the kind of what is known ("sql", "signal") and what it is; called from a worker's thread."""

_listeners: ContextVar[Sequence[Listener | None]] = ContextVar("listeners", default=())


@contextmanager
def heard_by(listeners: Sequence[Listener | None]) -> Iterator[None]:
    """Within, `tell` reaches the listener of the question of that number."""
    token = _listeners.set(listeners)
    try:
        yield
    finally:
        _listeners.reset(token)


def tell(question: int, kind: str, content: dict[str, Any]) -> None:
    """Say what is known of a question of this batch."""
    listeners = _listeners.get()
    if question < len(listeners) and (listener := listeners[question]) is not None:
        listener(kind, content)


class AroundSignal:
    """What stands around a signal and measures by it; `questions` are the numbers of the answers in their batch."""

    def __init__(self, signal: Signal, questions: Sequence[int]) -> None:
        self._signal = signal
        self._questions = questions

    @property
    def name(self) -> str:
        return self._signal.name

    @property
    def cost(self) -> Cost:
        return self._signal.cost


class Telling(AroundSignal):
    """A signal whose readings are told as soon as they are there."""

    def measure(self, answers: Sequence[Answer]) -> list[Reading]:
        started = time.perf_counter()
        readings = self._signal.measure(answers)
        ms = (time.perf_counter() - started) * 1000 / max(1, len(answers))
        for question, reading in zip(self._questions, readings, strict=False):
            content = {"name": reading.name, "value": reading.value, "ms": ms, "note": reading.note}
            tell(question, "signal", content)
        return readings


def telling(signals: Sequence[Signal], questions: Sequence[int]) -> Sequence[Signal]:
    """The signals, which tell if anyone listens; `questions` are the numbers of those that are measured."""
    if not any(_listeners.get()):
        return signals
    return [Telling(signal, questions) for signal in signals]
