"""Processes that run statements, kept for the next one; one that dies is replaced, and says why by how it died."""

from __future__ import annotations

import atexit
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from .. import errors
from ..errors import BadSql, DatabaseUnavailable, QueryTimeout, ServingError
from .place import Kind, Place
from .result import Limits, Result

MOST_PROCESSES = 8
"""Of each kind of database; further statements wait for one."""
_ROOT = Path(__file__).resolve().parents[2]
_PASSED_ON = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "SYSTEMROOT", "TZ", "VIRTUAL_ENV")
"""Of the environment: no secret is in what a statement could read."""


def execute(
    where: Place | str | Path,
    sql: str,
    *,
    max_rows: int = 1000,
    max_bytes: int = 4 * 2**20,
    timeout_s: float = 5.0,
) -> Result:
    """Run one reading statement, written in the database's own dialect, on the database at `where`.

    Raises BadSql (QueryTimeout past `timeout_s`) for the statement, DatabaseUnavailable for the database.
    """
    return _ask("run", Place.of(where), sql, Limits(max_rows, max_bytes, timeout_s))


def compiles(where: Place | str | Path, sql: str, *, timeout_s: float = 5.0) -> None:
    """Raise BadSql, saying why, unless the database at `where` can plan `sql`. Reads no data."""
    _ask("plan", Place.of(where), sql, Limits(timeout_s=timeout_s))


def shut_down() -> None:
    """End the processes that wait; those that run a statement end with it."""
    for pool in _pools.values():
        pool.close()


def _ask(what: str, place: Place, sql: str, limits: Limits) -> Result:
    started = time.perf_counter()
    try:
        sql.encode()
    except UnicodeError as error:
        raise BadSql("The statement is not UTF-8 text.") from error
    request = {"what": what, "address": place.address, "sql": sql, "limits": vars(limits)}
    found = _pool(place.kind).ask(request, limits.timeout_s)
    if "error" in found:
        name, message, hint = found["error"]
        kind = getattr(errors, name, BadSql)
        raise (kind if issubclass(kind, ServingError) else BadSql)(message, hint)
    ms = (time.perf_counter() - started) * 1000
    return Result(found["columns"], found["rows"], found["truncated"], ms)


class _Died(Exception):
    """A process ended without an answer: `code` as subprocess gives it; `began` if it had been given the statement."""

    def __init__(self, code: int, began: bool) -> None:
        super().__init__(code)
        self.code = code
        self.began = began


class _Process:
    def __init__(self, kind: Kind) -> None:
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH", "")]))
        self._child = subprocess.Popen(
            [sys.executable, "-m", "serving.execution.worker", kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**environment, "PYTHONPATH": path},
            cwd=_ROOT.anchor,
            start_new_session=True,  # Ctrl-C is for the parent, which closes the pipe when it goes
        )

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Its answer. Raises _Died."""
        assert self._child.stdin is not None and self._child.stdout is not None
        body = json.dumps(request).encode()
        try:
            self._child.stdin.write(struct.pack(">I", len(body)) + body)
            self._child.stdin.flush()
        except OSError as error:
            raise _Died(self._end(), began=False) from error
        head = self._child.stdout.read(4)
        answer = self._child.stdout.read(struct.unpack(">I", head)[0]) if len(head) == 4 else b""
        try:
            found: dict[str, Any] = json.loads(answer)
        except ValueError as error:
            raise _Died(self._end(), began=True) from error
        return found

    def close(self) -> None:
        assert self._child.stdin is not None and self._child.stdout is not None
        for pipe in (self._child.stdin, self._child.stdout):
            with suppress(OSError):  # what was buffered for a process that is gone
                pipe.close()

    def _end(self) -> int:
        self.close()
        try:
            return self._child.wait(1.0)
        except subprocess.TimeoutExpired:
            self._child.kill()
            return self._child.wait()


class _Pool:
    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._idle: list[_Process] = []
        self._lock = threading.Lock()
        self._places = threading.Semaphore(MOST_PROCESSES)
        self._owner = os.getpid()

    def ask(self, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        with self._places:
            for last in (False, True):
                process = self._take()
                try:
                    found = process.ask(request)
                except _Died as died:
                    if not died.began and not last:
                        continue  # one that waited was ended by somebody: another is started
                    raise _what_happened(died.code, timeout_s) from died
                except BaseException:  # as Ctrl-C: its answer would be taken for the next statement's
                    process.close()
                    raise
                self._give_back(process)
                return found
        raise AssertionError("unreachable")

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        if self._owner == os.getpid():
            for process in idle:
                process.close()

    def _take(self) -> _Process:
        with self._lock:
            if self._owner != os.getpid():  # after a fork the processes are the parent's
                self._idle, self._owner = [], os.getpid()
            if self._idle:
                return self._idle.pop()
        try:
            return _Process(self._kind)
        except OSError as error:
            raise DatabaseUnavailable(
                f"No process could be started to run the statement: {error.strerror}.",
                "Is the machine out of memory or processes?",
            ) from error

    def _give_back(self, process: _Process) -> None:
        with self._lock:
            self._idle.append(process)


def _what_happened(code: int, timeout_s: float) -> ServingError:
    if hasattr(signal, "SIGALRM") and code == -signal.SIGALRM:
        return QueryTimeout(
            f"The statement was stopped at its limit of {timeout_s:g} s.", "Narrow it, or raise the limit."
        )
    return BadSql(
        "The process that ran the statement ended before it answered: out of memory, or the database failed.",
        "Narrow the statement.",
    )


_pools: dict[Kind, _Pool] = {}
_pools_lock = threading.Lock()


def _pool(kind: Kind) -> _Pool:
    with _pools_lock:
        return _pools.setdefault(kind, _Pool(kind))


atexit.register(shut_down)
