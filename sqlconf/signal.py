"""What a confidence signal is, and all that it may know of a language model and of a database.

A signal puts a number in 0..1 on an answer: higher means that the SQL is more likely right. The number is
evidence, not a probability; `sqlconf.fusion` makes a probability of several. What cannot be measured is a
reading without a value and with a note.
"""

import contextvars
import logging
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Protocol, TypeVar, runtime_checkable

from sqlconf.errors import ConfidenceError

log = logging.getLogger(__name__)
Item = TypeVar("Item")


class Cost(IntEnum):
    """What a signal takes, the cheapest first: what `sqlconf.profiles` chooses by, and what a table of them shows."""

    FREE = 0
    """Falls out of generating the SQL."""
    RULES = 1
    """Reads the statement, the question and the schema."""
    EMBEDDING = 2
    """Passes of a small text encoder."""
    SCORING = 3
    """A pass of the language model over a text that is there."""
    WRITING = 4
    """The language model writes, token by token."""


class ColumnView(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def type(self) -> str: ...


class TableView(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def columns(self) -> Sequence[ColumnView]: ...


class ForeignKeyView(Protocol):
    @property
    def table(self) -> str: ...
    @property
    def column(self) -> str: ...
    @property
    def ref_table(self) -> str: ...
    @property
    def ref_column(self) -> str: ...


class SchemaView(Protocol):
    @property
    def tables(self) -> Sequence[TableView]: ...
    @property
    def foreign_keys(self) -> Sequence[ForeignKeyView]: ...


@dataclass(frozen=True)
class Candidate:
    """One of the statements that were considered for an answer."""

    sql: str
    """Empty for what could not be run."""
    logprob: float
    """Natural logarithm of the whole statement's probability."""
    result: str | None
    """Equal for candidates that give the same rows; None if it was not run, or if its rows could not tell (a table is empty)."""
    rows: int | None
    """How many rows say something (hold more than nulls), as far as was read."""
    tokens: int = 0
    """How many tokens the model wrote it in; 0 where that is not known."""
    distinct: float | None = None
    """Of the rows that were read, the share that are left when repeats are dropped; 1 of no rows, None if it was not run."""


@dataclass(frozen=True)
class Answer:
    """A question and the SQL that a model wrote for it."""

    question: str
    sql: str
    schema: SchemaView
    token_logprobs: tuple[float, ...] = ()
    """Natural-log probabilities of the generated SQL's tokens, before any mask on the vocabulary."""
    context: object = None
    """Whatever the Model needs to go on from here (serving's prompt); opaque to this package."""
    candidates: tuple[Candidate, ...] = ()
    """All that were considered, the answer among them."""
    tokens: tuple[str, ...] = ()
    """The texts of the tokens that `token_logprobs` are of, where the engine tells them."""

    @property
    def own(self) -> Candidate | None:
        """The candidate that the answer is; None where it is not among those known."""
        return next((one for one in self.candidates if one.sql == self.sql), None)


class Model(Protocol):
    """What signals may ask of the language model; one item per answer, in order, None where it cannot say."""

    def back_translate(self, answers: Sequence[Answer]) -> list[tuple[str, ...] | None]:
        """The SQL in words, in one way or several, the likeliest first."""
        ...

    def self_report(self, answers: Sequence[Answer]) -> list[float | None]: ...
    def question_logprobs(self, answers: Sequence[Answer]) -> list[tuple[float, ...] | None]:
        """Log-probabilities of the question's tokens, where the SQL is given to be put into words."""
        ...

    def view_logprobs(self, answers: Sequence[Answer]) -> list[tuple[tuple[float, ...], ...] | None]:
        """Log-probabilities of the SQL's tokens, once for each other order of the schema that it is shown in."""
        ...


@dataclass(frozen=True)
class Reading:
    """One signal's value on one answer: in 0..1, or None with a note on why; `ms` is the answer's share of
    the batch.
    """

    name: str
    value: float | None
    ms: float = 0.0
    note: str = ""
    cost: int = Cost.FREE
    """Of the signal, filled in by `measure_all`."""


@runtime_checkable
class Signal(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def cost(self) -> Cost: ...
    def measure(self, answers: Sequence[Answer]) -> list[Reading]: ...


def measure_all(
    signals: Sequence[Signal], answers: Sequence[Answer], limit_s: float | None = None
) -> list[list[Reading]]:
    """Measure every signal on every answer: one list per answer, its readings in the signals' order.

    A signal that raises, that breaks its contract, or that takes longer than `limit_s` for each answer of the batch is
    recorded as missing on all answers, with a note; the rest go on. One that is too slow is left to end by itself in a
    thread of its own: nothing can stop it.
    """
    names = [signal.name for signal in signals]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfidenceError(f"two signals are named {', '.join(twice)}; give each signal a name of its own")
    if not answers:
        return []
    columns = [_measure(signal, answers, limit_s) for signal in signals]
    return [[column[i] for column in columns] for i in range(len(answers))]


def one_each(what: str, found: Sequence[Item], answers: Sequence[Answer]) -> Sequence[Item]:
    """What a model found, if it is one for each answer. Raises ConfidenceError."""
    if len(found) != len(answers):
        raise ConfidenceError(f"the model gave {len(found)} {what} for {len(answers)} answers")
    return found


def values(readings: Sequence[Reading]) -> dict[str, float | None]:
    """One answer's readings as `Fusion` takes them."""
    return {reading.name: reading.value for reading in readings}


def _measure(signal: Signal, answers: Sequence[Answer], limit_s: float | None) -> list[Reading]:
    start = time.perf_counter()
    try:
        found = (
            signal.measure(answers) if limit_s is None else _within(limit_s * len(answers), signal, answers)
        )
        readings = [_checked(signal, reading) for reading in found]
        if len(readings) != len(answers):
            raise ConfidenceError(f"it gave {len(readings)} readings for {len(answers)} answers")
    except Exception as error:  # one broken signal must not take the answer down with it
        log.warning("signal %s is missing: %s", signal.name, error, exc_info=True)
        readings = [Reading(signal.name, None, note=f"{type(error).__name__}: {error}")] * len(answers)
    share_ms = (time.perf_counter() - start) * 1000 / len(answers)
    return [
        replace(reading, ms=share_ms, cost=int(getattr(signal, "cost", Cost.FREE))) for reading in readings
    ]


def _within(limit_s: float, signal: Signal, answers: Sequence[Answer]) -> list[Reading]:
    """What the signal measures, or TimeoutError."""
    found: list[list[Reading]] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            found.append(signal.measure(answers))
        except BaseException as error:  # raised again below, in the thread that asked
            failed.append(error)

    here = contextvars.copy_context()  # whoever listens to this thread listens to that one
    thread = threading.Thread(target=here.run, args=(work,), name=f"signal-{signal.name}", daemon=True)
    thread.start()
    thread.join(limit_s)
    if failed:
        raise failed[0]
    if not found:
        raise TimeoutError(f"it took longer than {limit_s:g} s")
    return found[0]


def _checked(signal: Signal, reading: Reading) -> Reading:
    if reading.name != signal.name:
        raise ConfidenceError(f"signal {signal.name} gave a reading named {reading.name}")
    if reading.value is None or 0.0 <= reading.value <= 1.0:
        return reading
    if math.isfinite(reading.value):
        raise ConfidenceError(f"signal {signal.name} gave {reading.value}, expected a number in 0..1")
    return Reading(reading.name, None, note=f"not a number: {reading.value}")
