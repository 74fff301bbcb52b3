"""A process that runs statements for its parent, one after another: python -m serving.execution.worker KIND

Requests come on standard input and answers go to standard output, each as JSON after its length. What a database cannot be
made to keep is kept by the operating system: memory, file sizes and files have limits, and past a statement's time the
process is killed by its own alarm, whatever it is in the middle of. It ends with its parent, whose end closes the pipe.
"""

from __future__ import annotations

import json
import os
import select
import signal
import struct
import sys
from contextlib import suppress
from typing import Any, BinaryIO, Protocol

from ..errors import ServingError
from . import alarm
from .result import Limits, Result

MEMORY_BYTES = 2 * 2**30
"""Of address space."""


class Runner(Protocol):
    """What runs statements on one kind of database."""

    written_bytes: int  # the most that a file of this process may grow to
    opening_s: float  # the most that reaching the database may take, besides the statement's time
    idle_s: float  # after so long without a statement, what is open is let go

    def run(self, address: str, sql: str, limits: Limits) -> Result: ...

    def plan(self, address: str, sql: str, limits: Limits) -> None: ...

    def idle(self) -> None: ...


def main(kind: str) -> None:
    runner = _runner(kind)
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing but answers gets into the pipe
    _limit(runner)
    while (body := _read(requests, runner)) is not None:
        request: dict[str, Any] = json.loads(body)
        limits = Limits(**request["limits"])
        alarm.arm(runner.opening_s + limits.timeout_s)
        answer = json.dumps(_answer(runner, request, limits), allow_nan=False).encode()
        alarm.disarm()
        answers.write(struct.pack(">I", len(answer)) + answer)
        answers.flush()


def _answer(runner: Runner, request: dict[str, Any], limits: Limits) -> dict[str, Any]:
    try:
        if request["what"] == "plan":
            runner.plan(request["address"], request["sql"], limits)
            return {"columns": [], "rows": [], "truncated": False}
        return vars(runner.run(request["address"], request["sql"], limits))
    except ServingError as error:
        return {"error": [type(error).__name__, error.message, error.hint]}
    except MemoryError:
        message = "The statement needs more memory than it may have."
        return {"error": ["BadSql", message, "Narrow it: fewer rows to sort or group."]}


def _runner(kind: str) -> Runner:
    if kind == "sqlite":
        from .in_sqlite import SQLite

        return SQLite()
    if kind == "duckdb":
        from .in_duckdb import DuckDB

        return DuckDB()
    from .in_postgres import Postgres

    return Postgres()


def _limit(runner: Runner) -> None:
    if sys.platform == "win32":
        return
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    for kind, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, runner.written_bytes),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ):
        with suppress(OSError, ValueError):  # a system without this limit, or with a lower one set already
            resource.setrlimit(kind, (most, most))


def _read(requests: BinaryIO, runner: Runner) -> bytes | None:
    if sys.platform != "win32" and not select.select([requests], [], [], runner.idle_s)[0]:
        runner.idle()
    head = requests.read(4)
    return requests.read(struct.unpack(">I", head)[0]) if len(head) == 4 else None


if __name__ == "__main__":
    main(sys.argv[1])
