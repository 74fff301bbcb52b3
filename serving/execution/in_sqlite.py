"""SQLite's wall: the file is opened `mode=ro`; SQLite's authorizer allows SELECT, reading columns, recursion and the functions
of the allow-list, and nothing else; a progress handler stops a statement at its time; `setlimit` bounds what the clock does
not see, as the length of a value. What no handler sees (`instr` over megabytes is one step) the process's alarm ends.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from ..allowed_names import FUNCTIONS, readable_table
from ..errors import BadSql, DatabaseAway, DatabaseUnavailable, QueryTimeout
from . import alarm
from .result import Limits, Result, take

_MAGIC = b"SQLite format 3\x00"
_STEPS_BETWEEN_LOOKS = 2_000  # virtual-machine steps between two looks at the clock; tens of microseconds
_HEAP_BYTES = 256 * 2**20
_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: 4 * 2**20,  # bytes of a value or a row: printf('%9999999d') ends here
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 40_000,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 500,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 100,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 1_000,
    sqlite3.SQLITE_LIMIT_VDBE_OP: 500_000,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}


class SQLite:
    """Runs statements on SQLite files, each on a connection of its own, so that nothing outlives it."""

    written_bytes = 4 * 2**20  # a file in WAL mode needs its -shm beside it, also to be read
    opening_s = 1.5  # how long it waits for a writer's lock, and a little
    idle_s = 60.0

    def run(self, address: str, sql: str, limits: Limits) -> Result:
        path = Path(address)
        started = time.perf_counter()
        with closing(_connect(path)) as connection:
            deadline = time.perf_counter() + limits.timeout_s
            alarm.arm(limits.timeout_s)
            connection.set_progress_handler(lambda: time.perf_counter() > deadline, _STEPS_BETWEEN_LOOKS)
            try:
                cursor = connection.execute(sql)
                if cursor.description is None:
                    raise BadSql("The statement answers no columns.", "Only a SELECT is run.")
                columns = [str(column[0]) for column in cursor.description]
                rows, truncated = take(cursor, limits)
            except (sqlite3.Error, sqlite3.Warning, MemoryError, UnicodeError, ValueError) as error:
                if time.perf_counter() > deadline and "interrupt" in str(error):
                    raise QueryTimeout(
                        f"The statement was stopped at its limit of {limits.timeout_s:g} s.",
                        "Narrow it, or raise the limit.",
                    ) from error
                raise _translate(error, path) from error
        return Result(columns, rows, truncated, (time.perf_counter() - started) * 1000)

    def plan(self, address: str, sql: str, limits: Limits) -> None:
        self.run(address, f"EXPLAIN {sql}", Limits(max_rows=1, timeout_s=limits.timeout_s))

    def idle(self) -> None:
        """Nothing is kept."""


def check_file(path: Path) -> None:
    """Raise DatabaseUnavailable, saying what is there instead, unless `path` is a file that SQLite wrote."""
    name = path.name if len(path.name) <= 64 else path.name[:64] + "…"
    try:
        if path.is_dir():
            raise DatabaseUnavailable(
                f"{name!r} is a folder, not a database file.", "Name the .sqlite file in it."
            )
        if not path.is_file():
            raise DatabaseUnavailable(
                f"There is no database file {name!r}.", "Was it moved? Register it again."
            )
        with path.open("rb") as file:
            head = file.read(len(_MAGIC))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its name cannot be opened"
        raise DatabaseUnavailable(f"The database file {name!r} cannot be read: {reason}.") from error
    if not head:
        raise DatabaseUnavailable(f"The database file {name!r} is empty.", "Was its creation cut short?")
    if head != _MAGIC:
        raise DatabaseUnavailable(f"The file {name!r} is not a SQLite database.", "Name a SQLite 3 file.")


def _connect(path: Path) -> sqlite3.Connection:
    check_file(path)
    uri = f"file:{quote(str(path.absolute()))}?mode=ro"
    try:
        connection = sqlite3.connect(
            uri, uri=True, timeout=1.0, isolation_level=None, check_same_thread=False, cached_statements=0
        )
    except sqlite3.Error as error:
        raise _translate(error, path) from error
    try:
        connection.text_factory = _text
        for pragma in (
            "query_only=ON",
            "trusted_schema=OFF",
            "temp_store=MEMORY",
            f"hard_heap_limit={_HEAP_BYTES}",
        ):
            connection.execute(f"PRAGMA {pragma}").close()
        # Modules set themselves up at their first use, in ways that the authorizer would refuse.
        connection.execute("SELECT 1 FROM json_each('[]'), json_tree('[]')").close()
        for limit, value in _LIMITS.items():
            connection.setlimit(limit, value)
        connection.set_authorizer(_authorize)
    except sqlite3.Error as error:
        connection.close()
        raise _translate(error, path) from error
    return connection


def _authorize(
    action: int, first: str | None, second: str | None, _database: str | None, _by: str | None
) -> int:
    if action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE):
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_READ and readable_table(first or ""):
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in FUNCTIONS["sqlite"]:
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _translate(error: Exception, path: Path) -> BadSql | DatabaseUnavailable:
    """SQLite's error as one of ours, without the path of the file."""
    text = str(error)
    if isinstance(error, MemoryError):
        return BadSql(
            "The statement needs more memory than it may have.", "Narrow it: fewer rows to sort or group."
        )
    if (
        "not a database" in text
        or "image is malformed" in text
        or "schema (" in text
        or "unsupported file format" in text
        or "disk I/O" in text
    ):
        return DatabaseUnavailable(
            f"The database file {path.name!r} is damaged: {text}.", "Restore it from a copy."
        )
    if "unable to open" in text:
        return DatabaseUnavailable(
            f"The database file {path.name!r} cannot be opened.", "May this user read it?"
        )
    if "locked" in text or "busy" in text:
        return DatabaseAway(
            f"The database file {path.name!r} is locked by a writer.", "Try again in a moment."
        )
    if "prohibited" in text or "not authorized" in text:
        return BadSql(f"The database refuses the statement: {text}.", "Only reading is allowed.")
    if isinstance(error, UnicodeError):
        return BadSql("The statement, or a column's name in its answer, is not UTF-8 text.")
    return BadSql(
        f"The database cannot run the statement: {text}.", "Compare its names with the database's schema."
    )
