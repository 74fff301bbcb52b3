"""What this process settled with engines, and what the engine in it did, call by call: two sketches, and lines in a file.

An operator subtracts the one side's sketches from the other's (`suresql ledger`): what is left are the calls on which the two do
not agree. What the engine here did is on the disk's way before its answer is on the client's, so `kill -9` forgets none of it.
What was settled follows the answer: of a call whose gateway was killed meanwhile, the engine's side alone knows.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from base64 import b64decode, b64encode
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

from ..engines.calling import new_call
from ..errors import StateError
from .exchange import Exchange
from .sketch import Sketch

log = logging.getLogger(__name__)
Side = Literal["settled", "did"]
SIDES: tuple[Side, ...] = ("settled", "did")
MOST_BYTES = 16 * 2**20
"""Of lines; beyond, the sketches go on in a new file, and the former is kept beside it until the next time."""
MOST_PROCESSES = 1_024
UNTOLD = "its end was not told"
BROKE_OFF = "the engine broke off"


class Call:
    """One call while it is made: it counts as its estimate until it is known what it took."""

    def __init__(self, name: str, estimate: int) -> None:
        self.name = name
        self.tokens = estimate
        self.why = UNTOLD

    def took(self, tokens: int | None, why: str = "") -> None:
        """What is charged for it; None where the engine does not say, which leaves the estimate."""
        if tokens is not None:
            self.tokens, self.why = tokens, why


class Calls:
    """The two sides of one process. Safe to use from several threads; several processes may share a folder."""

    def __init__(self, folder: Path) -> None:
        """Goes on where the last process that used a file of the folder stopped. Raises StateError."""
        self._lock = threading.Lock()
        self._failed = False
        self.sketches: dict[Side, Sketch] = {side: Sketch() for side in SIDES}
        self.counts: dict[Side, int] = dict.fromkeys(SIDES, 0)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._mine, self._file = _place_in(folder)
            with self._file.open("ab+") as known:
                self._read(known)
            self._handle = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            if self._size and not self._ended:  # the last line was cut off by a full disk
                os.write(self._handle, b"\n")
        except OSError as error:
            raise StateError(
                f"The ledger of calls in {folder} cannot be read or written: {error.strerror}.",
                "Set SURESQL_HOME to a folder that can be.",
            ) from error

    @contextmanager
    def made(self, exchange: Exchange, estimate: int, name: str | None = None) -> Iterator[Call]:
        """A call for an exchange, settled at its end, however it ends."""
        call = Call(name or new_call(), estimate)
        try:
            yield call
        finally:
            self.note("settled", call.name, call.tokens, exchange.id, exchange.caller.key, call.why)
            exchange.spent += call.tokens

    def note(
        self, side: Side, call: str, tokens: int, request: str = "-", key: str = "-", why: str = ""
    ) -> None:
        """Add a call to a side."""
        line: dict[str, Any] = {"side": side, "call": call, "tokens": tokens, "request": request, "key": key}
        if why:
            line["why"] = why
        text = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            try:
                if self._size + len(text) > MOST_BYTES:
                    self._turn()  # before this call is added, or it would be in the new file twice
                start = b"\n" if self._failed else b""  # half a line may stand there
                self._size += os.write(self._handle, start + text)
                self._failed = False
            except OSError as error:
                if not self._failed:
                    log.error("the ledger of calls %s cannot be written: %s", self._file, error.strerror)
                self._failed = True
            self._add(side, call, tokens)

    def state(self, sides: Collection[Side] = SIDES) -> dict[str, Any]:
        """The sketches as text, and how many calls went into each."""
        with self._lock:
            return {
                "calls": {side: self.counts[side] for side in sides},
                "sketches": {side: b64encode(self.sketches[side].to_bytes()).decode() for side in sides},
            }

    def lines(self, calls: Collection[str] | None = None) -> Iterator[dict[str, Any]]:
        """What is kept of these calls, or of all; the oldest of many may be kept no longer."""
        for file in (self._former, self._file):
            if file.exists():
                with file.open("rb") as known:
                    for line in map(_parsed, known):
                        if "call" in line and (calls is None or line["call"] in calls):
                            yield line

    def close(self) -> None:
        os.close(self._handle)
        self._mine.close()

    @property
    def _former(self) -> Path:
        return self._file.with_name(self._file.name + ".1")

    def _add(self, side: Side, call: str, tokens: int) -> None:
        self.sketches[side].add(int(call, 16), tokens)
        self.counts[side] += 1

    def _read(self, known: IO[bytes]) -> None:
        known.seek(0)
        self._size, self._ended = 0, True
        for text in known:
            self._size += len(text)
            self._ended = text.endswith(b"\n")
            line = _parsed(text)
            if "sketches" in line:
                for side in SIDES:
                    self.sketches[side] = Sketch.from_bytes(b64decode(line["sketches"][side]))
                    self.counts[side] = int(line["calls"][side])
            elif "call" in line:
                self._add(line["side"], line["call"], int(line["tokens"]))

    def _turn(self) -> None:
        """Begin a new file with what all lines so far come to; it takes the old one's place whole or not at all."""
        head = {
            "calls": self.counts,
            "sketches": {side: b64encode(one.to_bytes()).decode() for side, one in self.sketches.items()},
        }
        fresh = self._file.with_name(self._file.name + ".new")
        fresh.write_bytes(json.dumps(head).encode() + b"\n")
        fresh.chmod(0o600)
        self._former.unlink(missing_ok=True)
        os.link(self._file, self._former)
        fresh.replace(self._file)
        os.close(self._handle)
        self._handle = os.open(self._file, os.O_WRONLY | os.O_APPEND)
        self._size = self._file.stat().st_size


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:  # a line that was cut off
        return {}
    return found if isinstance(found, dict) else {}


def _place_in(folder: Path) -> tuple[IO[bytes], Path]:
    """The first file that no living process has, and what holds it until this process ends, however it does."""
    for number in range(MOST_PROCESSES):
        mine = (folder / f"{number}.lock").open("ab")
        if _locked(mine):
            return mine, folder / f"{number}.jsonl"
        mine.close()
    raise OSError(0, f"{MOST_PROCESSES} processes use it already")


def _locked(file: IO[bytes]) -> bool:
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
