"""DuckDB's wall: the file is opened for reading, without access to anything else, its configuration locked.

DuckDB's own parser says what a statement is: one SELECT, or it is not run. Each statement has a connection of its own, and an
instance lives for seconds only, so that a replaced file is seen and writers find the file free in between. Threads, memory and
temporary files are limited by DuckDB; the clock is kept by its interrupt, and by the process's alarm where that is not heeded.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import duckdb

from ..errors import BadSql, DatabaseAway, DatabaseUnavailable, QueryTimeout
from . import alarm
from .result import Limits, Result, take

_MAGIC = b"DUCK"  # at byte 8, after a checksum
_ROWS_AT_ONCE = 64
_OPEN_S = 5.0
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "allow_unsigned_extensions": "false",
    "python_enable_replacements": "false",  # a table's name would else mean a variable of this program
    "memory_limit": "512MB",
    "threads": "1",
    "temp_directory": "",
    "max_temp_directory_size": "0B",
    "max_expression_depth": "250",
    "lock_configuration": "true",
}


class DuckDB:
    """Runs statements on DuckDB files. The last file stays open a moment: opening one takes longer than most statements."""

    written_bytes = 0
    opening_s = 1.0
    idle_s = 0.5

    def __init__(self) -> None:
        self._open: tuple[tuple[str, object], float, duckdb.DuckDBPyConnection] | None = None

    def run(self, address: str, sql: str, limits: Limits) -> Result:
        return self._run(Path(address), sql, limits, plan=False)

    def plan(self, address: str, sql: str, limits: Limits) -> None:
        self._run(Path(address), sql, limits, plan=True)

    def idle(self) -> None:
        if self._open is not None:
            self._open[2].close()
            self._open = None

    def _run(self, path: Path, sql: str, limits: Limits, *, plan: bool) -> Result:
        started = time.perf_counter()
        with closing(self._instance(path).cursor()) as connection:
            deadline = time.perf_counter() + limits.timeout_s
            alarm.arm(limits.timeout_s)
            timer = threading.Timer(limits.timeout_s, connection.interrupt)
            timer.daemon = True
            timer.start()
            try:
                _check_kind(connection, sql)
                cursor = connection.execute(f"EXPLAIN {sql}" if plan else sql)
                columns = [str(column[0]) for column in cursor.description or ()]
                rows, truncated = take(_rows(cursor), limits)
            except (duckdb.Error, MemoryError, UnicodeError, ValueError, RuntimeError) as error:
                if isinstance(error, duckdb.FatalException):
                    self.idle()
                if time.perf_counter() > deadline and isinstance(
                    error, (duckdb.InterruptException, RuntimeError)
                ):
                    raise QueryTimeout(
                        f"The statement was stopped at its limit of {limits.timeout_s:g} s.",
                        "Narrow it, or raise the limit.",
                    ) from error
                raise _translate(error, path) from error
            finally:
                timer.cancel()
        return Result(columns, rows, truncated, (time.perf_counter() - started) * 1000)

    def _instance(self, path: Path) -> duckdb.DuckDBPyConnection:
        check_file(path)
        stat = path.stat()
        key = (str(path), (stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size))
        if self._open is not None and self._open[0] == key and time.monotonic() < self._open[1]:
            return self._open[2]
        self.idle()
        self._open = (key, time.monotonic() + _OPEN_S, _connect(path))
        return self._open[2]


def check_file(path: Path) -> None:
    """Raise DatabaseUnavailable, saying what is there instead, unless `path` is a file that DuckDB wrote."""
    name = path.name if len(path.name) <= 64 else path.name[:64] + "…"
    try:
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "is not there"
            raise DatabaseUnavailable(
                f"The database file {name!r} {what}.", "Was it moved? Register it again."
            )
        with path.open("rb") as file:
            head = file.read(12)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its name cannot be opened"
        raise DatabaseUnavailable(f"The database file {name!r} cannot be read: {reason}.") from error
    if head[8:12] != _MAGIC:
        raise DatabaseUnavailable(f"The file {name!r} is not a DuckDB database.", "Name a file of DuckDB's.")


def _connect(path: Path) -> duckdb.DuckDBPyConnection:
    try:
        return duckdb.connect(str(path), read_only=True, config=_CONFIG)
    except (duckdb.Error, RuntimeError) as error:
        text = str(error).lower()
        if "lock" in text:
            raise DatabaseAway(
                f"The database file {path.name!r} is locked by a writer.", "Try again in a moment."
            ) from error
        if "permission" in text or "cannot open" in text:
            raise DatabaseUnavailable(
                f"The database file {path.name!r} cannot be opened.", "May this user read it?"
            ) from error
        raise DatabaseUnavailable(
            f"The database file {path.name!r} cannot be read: it is damaged, of a newer DuckDB,"
            " or has a log (.wal) that was not folded into it.",
            "Open and close it once with the DuckDB that wrote it, or restore it from a copy.",
        ) from error


def _check_kind(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    kinds = [statement.type for statement in connection.extract_statements(sql)]
    if kinds != [duckdb.StatementType.SELECT]:
        found = ", ".join(kind.name for kind in kinds[:5]) or "nothing"
        raise BadSql(f"The database is asked for {found}; one SELECT is run at a time.", "Send one SELECT.")


def _rows(cursor: duckdb.DuckDBPyConnection) -> Iterator[tuple[object, ...]]:
    while found := cursor.fetchmany(_ROWS_AT_ONCE):
        yield from found


def _translate(error: Exception, path: Path) -> BadSql | DatabaseUnavailable:
    """DuckDB's error as one of ours, without the path of the file."""
    text = (str(error).strip() or type(error).__name__).split("\n\n")[0].replace("\n", " ")[:400]
    text = text.replace(str(path), path.name).replace(str(path.parent), "…")
    if isinstance(error, (MemoryError, duckdb.OutOfMemoryException)):
        return BadSql(
            "The statement needs more memory than it may have.", "Narrow it: fewer rows to sort or group."
        )
    if isinstance(error, duckdb.PermissionException):
        return BadSql("The database refuses the statement: it may reach nothing but its own tables.")
    if isinstance(error, (duckdb.IOException, duckdb.FatalException, duckdb.SerializationException)):
        return DatabaseUnavailable(
            f"The database file {path.name!r} is damaged: {text}.", "Restore it from a copy."
        )
    return BadSql(
        f"The database cannot run the statement: {text}.", "Compare its names with the database's schema."
    )
