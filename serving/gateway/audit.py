"""One line of JSON for every answered question, statement of a caller's own, completion put to an engine and change of databases.

Who, what, when, how it ended. No password or row is in it, and of a key its public prefix.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from pathlib import Path
from typing import Any

from ..errors import StateError
from .caller import Caller

log = logging.getLogger(__name__)
MOST_BYTES = 256 * 2**20
MOST_TEXT = 4_000


class Audit:
    """Appends to a file, a whole line at a time, so that several processes may share it and `kill -9` loses none written."""

    def __init__(self, file: Path) -> None:
        """Raises StateError where the file cannot be written."""
        self._file = file
        self._lock = threading.Lock()
        self._failed = False
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError as error:
            raise StateError(
                f"The audit {file} cannot be written: {error.strerror}.",
                "Set SURESQL_HOME to a folder that can be.",
            ) from error
        self._room = MOST_BYTES - os.fstat(self._handle).st_size

    def write(self, caller: Caller, request: str, route: str, status: int, **what: Any) -> None:
        """Add a line. A disk that is full is told to the log once, and to nobody else: the answer has been given."""
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()),
            "request": request,
            "key": caller.key,
            "tenant": caller.tenant,
            "route": route,
            "status": status,
            **{name: value[:MOST_TEXT] if isinstance(value, str) else value for name, value in what.items()},
        }
        text = json.dumps(line, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            try:
                if self._room < len(text):
                    self._turn()
                os.write(self._handle, text)
                self._room -= len(text)
                self._failed = False
            except OSError as error:
                if not self._failed:
                    log.error("the audit %s cannot be written: %s", self._file, error.strerror)
                self._failed = True

    def close(self) -> None:
        os.close(self._handle)

    def _turn(self) -> None:
        """Begin a new file; the former keeps its name with .1 behind."""
        os.close(self._handle)
        self._file.replace(self._file.with_name(self._file.name + ".1"))
        self._handle = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._room = MOST_BYTES
