"""Hostile statements put to the three databases, and what is there afterwards: the walls are judged by that alone.

Each statement is run three ways: behind both walls; behind the database's own wall alone; and, if the guard lets it pass, without
any wall, by an administrator who may write. Afterwards the databases hold what they held, the canary is in no result, no file
has been made, nobody has called at the port that listens, and no statement took longer than it may.
"""

from __future__ import annotations

import hashlib
import resource
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import duckdb
import psycopg

from ..databases import Database
from ..databases.address import place_of
from ..errors import ServingError
from ..execution import execute
from .cluster import Cluster
from .dialects import make_reader

Walls = Literal["both", "database", "guard"]
CANARY = "canary-5b1f0c"
TIMEOUT_S = 0.3
SLACK_S = 8.0
"""Over the limit, for a busy machine: what sleeps or runs on would take twenty seconds or more."""

SHOP = """
CREATE TABLE suppliers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, country TEXT, rating DOUBLE PRECISION);
CREATE TABLE parts (id INTEGER PRIMARY KEY, supplier_id INTEGER REFERENCES suppliers(id), price DOUBLE PRECISION);
INSERT INTO suppliers VALUES (1, 'Acme', 'Germany', 4.5), (2, 'Bolt', 'France', 3.0), (3, 'Cafe', 'Germany', NULL);
INSERT INTO parts VALUES (1, 1, 9.5), (2, 1, 0.5), (3, 2, 7.0);
CREATE VIEW german AS SELECT * FROM suppliers WHERE country = 'Germany';
"""
_SEQUENCE = "CREATE SEQUENCE numbers;"
_POSTGRES_ONLY = f"""
CREATE TABLE secrets (secret TEXT); INSERT INTO secrets VALUES ('{CANARY}');
CREATE FUNCTION wipe() RETURNS int LANGUAGE plpgsql AS $$BEGIN DELETE FROM public.suppliers; RETURN 1; END$$;
CREATE FUNCTION touched(s suppliers) RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1';
"""


@dataclass
class Report:
    """What a siege found: `breaches` is to be empty."""

    asked: Counter[str] = field(default_factory=Counter)
    passed: Counter[str] = field(default_factory=Counter)
    breaches: list[str] = field(default_factory=list)
    slowest_s: float = 0.0


class Siege:
    """One database with what lies around it, and statements put to it."""

    def __init__(
        self, dialect: str, folder: Path, server: Cluster | None = None, timeout_s: float = TIMEOUT_S
    ) -> None:
        self.dialect = dialect
        self.report = Report()
        self.timeout_s = timeout_s
        self._folder = folder / dialect
        self._folder.mkdir()
        self._canary = self._folder / "canary.csv"
        self._canary.write_text(f"a,b\n{CANARY},1\n")
        self._canary.chmod(0o644)
        self._out = self._folder / "out"
        self._server = server
        self._door = _Door()
        self._database = self._make()
        self._database.schema()
        self._before = self._state()

    def close(self) -> None:
        self._door.close()

    def attack(self, statements: Iterable[str], walls: Walls) -> None:
        """Put each statement to the database behind those walls, then look at what is there."""
        run: Callable[[str], list[list[object]]] = {
            "both": self._behind_both,
            "database": self._behind_its_own,
            "guard": self._behind_the_guard,
        }[walls]
        recent: list[str] = []
        for raw in statements:
            sql = self._filled(raw)
            recent = [*recent[-2:], sql[:200]]
            started = time.monotonic()
            self.report.asked[walls] += 1
            try:
                rows = run(sql)
                self.report.passed[walls] += 1
                if CANARY in str(rows) and CANARY not in sql:
                    self._breach(walls, "read what it may not", sql)
            except ServingError as error:
                if str(self._folder.parent) in error.message.replace(sql[:400], ""):
                    self._leak(walls, error.message, sql)
            took = time.monotonic() - started
            if walls != "guard":
                self.report.slowest_s = max(self.report.slowest_s, took)
            if (
                took > self.timeout_s + SLACK_S and walls != "guard"
            ):  # the clock is kept by the databases' own walls
                self._breach(walls, f"took {took:.1f} s", sql)
            if self._door.visits:
                self._breach(walls, "reached the network", sql)
                self._door.visits = 0
            if sorted(path.name for path in self._folder.iterdir()) != self._before["files"]:
                self._breach(walls, "made a file", sql)
                self._before["files"] = sorted(path.name for path in self._folder.iterdir())
        after = self._state()
        for key, value in self._before.items():
            if after[key] != value:
                self._breach(walls, f"{key} changed", " | ".join(recent))
        self._before = after

    def _leak(self, walls: Walls, message: str, sql: str) -> None:
        if str(self._folder) not in sql:
            self._breach(walls, f"an error named the folder: {message[:120]}", sql)

    def _breach(self, walls: Walls, what: str, sql: str) -> None:
        self.report.breaches.append(f"{self.dialect}, {walls}: {what}: {sql[:300]!r}")

    def _filled(self, sql: str) -> str:
        for name, value in (
            ("canary", self._canary), ("out", self._out), ("folder", self._folder), ("port", self._door.port),
        ):  # fmt: skip
            sql = sql.replace(f"{{{name}}}", str(value))
        return sql

    def _behind_both(self, sql: str) -> list[list[object]]:
        return [
            list(row)
            for row in self._database.execute(
                sql, written_in=self._database.dialect, timeout_s=self.timeout_s
            ).rows
        ]

    def _behind_its_own(self, sql: str) -> list[list[object]]:
        return [list(row) for row in execute(self._database.place, sql, timeout_s=self.timeout_s).rows]

    def _behind_the_guard(self, sql: str) -> list[list[object]]:
        native = self._database.translate(sql, self._database.dialect)
        with suppress(
            sqlite3.Error, sqlite3.Warning, duckdb.Error, psycopg.Error, ValueError, MemoryError, RuntimeError
        ):
            return self._unwalled(native)
        return []

    def _unwalled(self, sql: str) -> list[list[object]]:
        """By an administrator who may write; only the clock and the memory are kept, or this would not end."""
        if self.dialect == "postgres":
            assert self._server is not None
            with psycopg.connect(self._server.url("owner", "shop"), autocommit=True) as connection:
                connection.execute(f"SET statement_timeout = {round(self.timeout_s * 1000)}")
                return [list(row) for row in connection.execute(sql.encode()).fetchmany(100)]
        if self.dialect == "duckdb":
            with closing(
                duckdb.connect(str(self._database.path), config={"memory_limit": "300MB", "threads": "1"})
            ) as one:
                timer = threading.Timer(self.timeout_s, one.interrupt)
                timer.start()
                try:
                    return [list(row) for row in one.execute(sql).fetchmany(100)]
                finally:
                    timer.cancel()
        return _by_another_program(self._database.path, sql)

    def _make(self) -> Database:
        if self.dialect == "postgres":
            assert self._server is not None
            with psycopg.connect(self._server.url("owner"), autocommit=True) as connection:
                connection.execute("CREATE DATABASE shop")
            with psycopg.connect(self._server.url("owner", "shop"), autocommit=True) as connection:
                connection.execute((SHOP + _SEQUENCE).encode())
            make_reader(self._server, "shop")
            with psycopg.connect(self._server.url("owner", "shop"), autocommit=True) as connection:
                connection.execute(_POSTGRES_ONLY.encode())
                connection.execute("REVOKE ALL ON secrets FROM reader")
            return Database("shop", place_of(self._server.url("reader", "shop")))
        path = self._folder / f"shop.{self.dialect}"
        if self.dialect == "duckdb":
            with closing(duckdb.connect(str(path))) as made:
                made.execute(SHOP + _SEQUENCE)
        else:
            with closing(sqlite3.connect(path)) as built:
                built.executescript(SHOP)
        return Database("shop", place_of(f"{self.dialect}:///{path}"))

    def _state(self) -> dict[str, object]:
        state: dict[str, object] = {
            "files": sorted(path.name for path in self._folder.iterdir()),
            "the canary": hashlib.sha256(self._canary.read_bytes()).hexdigest(),
        }
        if self.dialect != "postgres":
            return {
                **state,
                "the database's file": hashlib.sha256(self._database.path.read_bytes()).hexdigest(),
            }
        assert self._server is not None
        with psycopg.connect(self._server.url("owner", "shop")) as connection:
            for what, sql in _POSTGRES_STATE.items():
                state[what] = connection.execute(sql.encode()).fetchall()
        return state


_POSTGRES_STATE = {
    "suppliers": "SELECT md5(string_agg(s::text, ',' ORDER BY id)) FROM suppliers s",
    "parts": "SELECT md5(string_agg(s::text, ',' ORDER BY id)) FROM parts s",
    "the sequence": "SELECT last_value, is_called FROM numbers",
    "relations": "SELECT count(*), md5(string_agg(relname, ',' ORDER BY oid)) FROM pg_class WHERE relpersistence <> 't'",
    "functions": "SELECT count(*) FROM pg_proc",
    "large objects": "SELECT count(*) FROM pg_largeobject_metadata",
    "roles": "SELECT md5(string_agg(r::text, ',' ORDER BY oid)) FROM pg_roles r",
    "settings of roles": "SELECT md5(string_agg(r::text, ',' ORDER BY setrole, setdatabase)) FROM pg_db_role_setting r",
    "databases": "SELECT count(*) FROM pg_database",
    "locks": "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'",
    "slots": "SELECT count(*) FROM pg_replication_slots",
    "server": "SELECT pg_postmaster_start_time()",
}


_PLAIN_SQLITE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("PRAGMA hard_heap_limit = 200000000")
print([list(row) for row in connection.execute(sys.stdin.read()).fetchmany(100)])
connection.commit()
"""


def _by_another_program(path: Path, sql: str) -> list[list[object]]:
    """A plain SQLite, which can be stopped in the middle of a step only from without."""
    with suppress(subprocess.TimeoutExpired):
        found = subprocess.run(
            [sys.executable, "-I", "-c", _PLAIN_SQLITE, path],
            input=sql,
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
        return [[found.stdout]]
    return []


class _Door:
    """A port that listens and that nobody may come to."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.visits = 0
        threading.Thread(target=self._watch, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _watch(self) -> None:
        while True:
            try:
                visitor, _ = self._socket.accept()
            except OSError:
                return
            self.visits += 1
            visitor.close()


@contextmanager
def siege(
    dialect: str, folder: Path, server: Cluster | None = None, timeout_s: float = TIMEOUT_S
) -> Iterator[Siege]:
    """A siege of a small shop kept by `dialect`'s database."""
    made = Siege(dialect, folder, server, timeout_s)
    try:
        yield made
    finally:
        made.close()


def peak_mb() -> dict[str, float]:
    """The most memory that this process and, of those that ended, the largest of its children held, in MB."""
    return {
        "this": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "largest child": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
    }
