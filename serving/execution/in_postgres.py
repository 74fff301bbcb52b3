"""PostgreSQL's wall: a role that is no administrator, in a transaction that only reads and is always rolled back.

A statement is the query of a cursor, over the extended protocol: PostgreSQL takes one SELECT there, and no writing WITH. Whatever
it changes in its session (settings, locks, temporary tables) goes with the rollback and DISCARD ALL. Its time, its wait for
locks and the memory of its sorts are limited by settings of the connection, which it cannot lift for itself.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence

import psycopg
from psycopg import sql as composed
from psycopg.conninfo import make_conninfo
from psycopg.types.string import TextLoader

from ..errors import BadSql, DatabaseAway, DatabaseUnavailable, QueryTimeout
from . import alarm
from .result import Limits, Result, Value, take

CONNECT_S = 4
_ANSWER_S = 0.5  # for what the server has found to come here, which its own limit does not count
_MOST_CONNECTIONS = 4
_SETTINGS = {
    "default_transaction_read_only": "on",
    "lock_timeout": "1s",
    "idle_in_transaction_session_timeout": "60s",
    "work_mem": "16MB",
    "temp_buffers": "800kB",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
    "TimeZone": "UTC",
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "standard_conforming_strings": "on",
    "client_min_messages": "error",
}
_AS_TEXT = ("date", "timestamp", "timestamptz", "time", "timetz", "interval", "json", "jsonb", "uuid")
_MAY_TOO_MUCH = """
    SELECT rolsuper OR rolreplication OR rolcreaterole OR rolcreatedb OR EXISTS (
        SELECT FROM pg_catalog.pg_roles AS power WHERE power.rolname IN
            ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files', 'pg_signal_backend')
        AND pg_catalog.pg_has_role(current_user, power.oid, 'MEMBER'))
    FROM pg_catalog.pg_roles WHERE rolname = current_user
"""
READER_HINT = "Make a role for it that can only read: suresql db reader-role prints the statements."


class Postgres:
    """Runs statements on PostgreSQL servers; connections are kept a little while, and cleared after each statement."""

    written_bytes = 0
    opening_s = float(CONNECT_S + 1)
    idle_s = 30.0

    def __init__(self) -> None:
        self._open: dict[str, psycopg.Connection[tuple[object, ...]]] = {}

    def run(self, address: str, sql: str, limits: Limits) -> Result:
        return self._run(address, sql, limits, plan=False)

    def plan(self, address: str, sql: str, limits: Limits) -> None:
        self._run(address, sql, limits, plan=True)

    def idle(self) -> None:
        for connection in self._open.values():
            connection.close()
        self._open.clear()

    def _run(self, address: str, sql: str, limits: Limits, *, plan: bool) -> Result:
        started = time.perf_counter()
        connection, kept = self._connection(address)
        alarm.arm(limits.timeout_s + _ANSWER_S)
        deadline = time.perf_counter() + limits.timeout_s
        try:
            connection.execute(f"BEGIN READ ONLY; {_time_left(deadline)}")  # type: ignore[arg-type]
        except psycopg.Error as error:
            self._forget(address)
            if kept:  # it was cut while it waited
                alarm.arm(self.opening_s + limits.timeout_s)
                return self._run(address, sql, limits, plan=plan)
            raise _translate(error, limits) from error
        try:
            columns, rows, truncated = _answer(connection, sql, limits, deadline, plan=plan)
            return Result(columns, rows, truncated, (time.perf_counter() - started) * 1000)
        except psycopg.Error as error:
            raise _translate(error, limits) from error
        finally:
            self._clear(address, connection)

    def _connection(self, address: str) -> tuple[psycopg.Connection[tuple[object, ...]], bool]:
        key = hashlib.sha256(address.encode()).hexdigest()
        known = self._open.get(key)
        if known is not None and not known.closed:
            return known, True
        while len(self._open) >= _MOST_CONNECTIONS:
            self._open.pop(next(iter(self._open))).close()
        self._open[key] = connect(json.loads(address))
        return self._open[key], False

    def _forget(self, address: str) -> None:
        found = self._open.pop(hashlib.sha256(address.encode()).hexdigest(), None)
        if found is not None:
            found.close()

    def _clear(self, address: str, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        try:
            connection.execute("ROLLBACK")
            connection.execute("DISCARD ALL")
        except psycopg.Error:
            self._forget(address)


def connect(parameters: dict[str, str]) -> psycopg.Connection[tuple[object, ...]]:
    """A connection that reads, of a role that is no administrator. Raises DatabaseUnavailable."""
    parameters = dict(parameters)
    settings = {**_SETTINGS, "search_path": parameters.pop("schema", "public")}
    options = " ".join(f"-c {name}={_option(value)}" for name, value in settings.items())
    fixed = {
        "options": options,
        "connect_timeout": str(CONNECT_S),
        "application_name": "suresql",
        "client_encoding": "utf8",
        "passfile": "/dev/null",
    }
    try:
        address = make_conninfo("", **{**parameters, **fixed})
        connection = psycopg.connect(address, autocommit=True, prepare_threshold=None)
        row = connection.execute(_MAY_TOO_MUCH).fetchone()
    except (psycopg.Error, UnicodeError) as error:
        raise unreachable(error) from error
    if row is None or row[0]:
        connection.close()
        raise DatabaseUnavailable(
            "The database's role is an administrator's: it may do more than read.", READER_HINT
        )
    for name in _AS_TEXT:
        connection.adapters.register_loader(name, TextLoader)
    return connection


def unreachable(error: Exception) -> DatabaseUnavailable:
    """Why a server could not be connected to, without its address, which may be secret."""
    text = str(error).lower()
    reasons = (
        (("authentication failed", "no password supplied"), "it refuses the name or the password"),
        (("does not exist",), "it has no such database or role"),
        (("permission denied", "not permitted"), "the role may not connect"),
        (("no pg_hba.conf entry",), "it takes no connection of this role from here"),
        (("translate host name", "name or service not known", "resolve host"), "its host is not known"),
        (("ssl error", "certificate", "does not support ssl"), "the encryption of the connection could not be agreed on"),
    )  # fmt: skip
    for_now = (
        (("timeout", "timed out"), f"it did not answer within {CONNECT_S} s"),
        (("too many clients", "remaining connection slots", "too many connections"), "it has no connection left"),
        (("starting up", "shutting down", "recovery mode", "not yet accepting"), "it is starting or stopping"),
        (("refused", "no such file", "no route", "unreachable"), "nothing listens at its address"),
    )  # fmt: skip
    for words, why in reasons:
        if any(word in text for word in words):
            return DatabaseUnavailable(
                f"The database's server cannot be used: {why}.", "Check its address and role."
            )
    why = next((why for words, why in for_now if any(word in text for word in words)), "it cannot be reached")
    return DatabaseAway(
        f"The database's server cannot be used: {why}.",
        "Try again shortly; if it stays so, check its address.",
    )


def _answer(
    connection: psycopg.Connection[tuple[object, ...]],
    sql: str,
    limits: Limits,
    deadline: float,
    *,
    plan: bool,
) -> tuple[list[str], list[list[Value]], bool]:
    with connection.cursor("answer", scrollable=False) as cursor:
        cursor.execute(composed.SQL(sql))  # type: ignore[arg-type]  # a statement, by design
        columns = [column.name for column in cursor.description or ()]
        rows, truncated = ([], False) if plan else take(_rows(connection, cursor, deadline), limits)
    return columns, rows, truncated


def _rows(
    connection: psycopg.Connection[tuple[object, ...]],
    cursor: psycopg.ServerCursor[tuple[object, ...]],
    deadline: float,
) -> Iterator[Sequence[object]]:
    """Few at first: one row may be large, and all that are fetched at once are held at once."""
    size = 8
    while True:
        connection.execute(_time_left(deadline))
        found = cursor.fetchmany(size)
        yield from found
        if len(found) < size:
            return
        size = min(4 * size, 512)


def _time_left(deadline: float) -> str:
    left = deadline - time.perf_counter()
    return f"SET LOCAL statement_timeout = {max(1, round(left * 1000))}"


def _option(value: str) -> str:
    return value.replace("\\", "\\\\").replace(" ", "\\ ")


def _translate(error: psycopg.Error, limits: Limits) -> BadSql | DatabaseUnavailable:
    """PostgreSQL's error as one of ours: its first line, which names what is in the statement, no more."""
    text = (error.diag.message_primary or str(error).split("\n")[0] or type(error).__name__)[:400]
    if isinstance(error, psycopg.errors.QueryCanceled):
        return QueryTimeout(
            f"The statement was stopped at its limit of {limits.timeout_s:g} s.",
            "Narrow it, or raise the limit.",
        )
    if isinstance(error, psycopg.errors.LockNotAvailable):
        return DatabaseAway("A table is locked by a writer.", "Try again in a moment.")
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return BadSql(f"The database refuses the statement: {text}.", "Only reading is allowed.")
    if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
        return BadSql(f"The database refuses the statement: {text}.", "Only reading is allowed.")
    if "out of memory" in text or isinstance(error, psycopg.errors.ProgramLimitExceeded):
        return BadSql(
            "The statement needs more memory than it may have.", "Narrow it: fewer rows to sort or group."
        )
    state = error.diag.sqlstate
    if (state is None and isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError))) or (
        state is not None and state.startswith(("57P", "08"))
    ):
        return DatabaseAway("The database's server went away in the middle of the statement.", "Try again.")
    return BadSql(
        f"The database cannot run the statement: {text}.", "Compare its names with the database's schema."
    )
