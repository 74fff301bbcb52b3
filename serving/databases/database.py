"""One database: its schema and contents, read once and again when it changes, and statements run on it behind both walls."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

from corpus.contents import Contents
from corpus.errors import CorpusError
from corpus.schema import Schema

from ..errors import BadSql, DatabaseUnavailable
from ..execution import Kind, Place, Result, compiles, execute
from ..guard import check
from ..translation import translate
from . import reading
from .reading import Reading

T = TypeVar("T")
Dialect = Literal["sqlite", "duckdb", "postgres"]
FRESH_S = 300.0
"""After which the schema and contents of a server are read again; a file's are when the file changes."""
LOOK_S = 0.5
_REMEMBERED = 512  # statements that the guard has passed, with what they are in the database's dialect


class Database:
    """A database by its name and place: of a SQLite or DuckDB file, or on a PostgreSQL server."""

    def __init__(self, name: str, place: Place | str | Path) -> None:
        self.name = name
        self.place = Place.of(place)
        self._lock = threading.RLock()
        self._stamp: object = None
        self._reading: Reading | None = None
        self._contents: Contents | None = None
        self._passed: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._empty: dict[str, bool] = {}

    @property
    def dialect(self) -> Kind:
        return self.place.kind

    @property
    def path(self) -> Path:
        """The file of a database that is one. Raises DatabaseUnavailable for one on a server."""
        if self.place.kind == "postgres":
            raise DatabaseUnavailable(f"The database {self.name!r} is on a server; it has no file.")
        return Path(self.place.address)

    def schema(self) -> Schema:
        """Its tables, columns and keys. Raises DatabaseUnavailable."""
        return self.reading().schema

    def reading(self) -> Reading:
        """Its schema, with the types and comments that the database itself declares. Raises DatabaseUnavailable."""
        with self._lock:
            self._refresh()
            if self._reading is None:
                self._reading = self._read(lambda: reading.read(self.place))
            return self._reading

    def contents(self) -> Contents:
        """Its text values, for finding which of a question's words are values. Raises DatabaseUnavailable."""
        schema = self.schema()
        with self._lock:
            if self._contents is None:
                self._contents = self._read(lambda: reading.read_contents(self.place, schema))
            return self._contents

    def translate(self, sql: str, written_in: Dialect = "sqlite") -> str:
        """`sql` as this database is to run it, once the guard has passed it. Raises GuardError.

        `written_in` is SQLite's dialect, which models write, or the database's own.
        """
        known = self.reading()
        with self._lock:
            if (written_in, sql) in self._passed:
                self._passed.move_to_end((written_in, sql))
                return self._passed[written_in, sql]
        if self.dialect == "sqlite":
            check(sql)
            native = sql
        else:
            native = translate(sql, written_in, self.dialect, known)
        with self._lock:
            self._passed[written_in, sql] = native
            while len(self._passed) > _REMEMBERED:
                self._passed.popitem(last=False)
        return native

    def execute(self, sql: str, written_in: Dialect = "sqlite", **limits: Any) -> Result:
        """Run `sql` behind both walls. Raises GuardError, BadSql or DatabaseUnavailable.

        `limits` are max_rows, max_bytes and timeout_s.
        """
        return execute(self.place, self.translate(sql, written_in), **limits)

    def compiles(self, sql: str, written_in: Dialect = "sqlite") -> None:
        """Raise GuardError or BadSql, saying why, unless both walls let `sql` pass. Reads no data."""
        compiles(self.place, self.translate(sql, written_in))

    def execute_known(self, sql: str, **limits: Any) -> Result:
        """Run `sql` that comes with a data set, not from a model or a user: behind the database's own wall alone."""
        return execute(self.place, sql, **limits)

    def is_empty(self, table: str) -> bool:
        """Whether a table of the schema holds no rows, as it was when first asked since the schema was read; not one that
        cannot be looked at briefly.
        """
        with self._lock:
            known = self._empty.get(table)
        if known is None:
            quoted = table.replace('"', '""')
            try:
                found = self.execute_known(
                    f'SELECT 1 FROM "{quoted}" LIMIT 1', max_rows=1, max_bytes=1_024, timeout_s=LOOK_S
                )
                known = not found.rows
            except BadSql:
                known = False
            with self._lock:
                self._empty[table] = known
        return known

    def _refresh(self) -> None:
        stamp = self._read(self._stamp_now)
        if stamp != self._stamp:
            self._stamp, self._reading, self._contents = stamp, None, None
            self._passed.clear()
            self._empty.clear()

    def _stamp_now(self) -> object:
        if self.place.kind == "postgres":
            known = self._stamp if isinstance(self._stamp, float) else float("-inf")
            now = time.monotonic()
            return known if now < known + FRESH_S else now
        try:
            stat = Path(self.place.address).stat()
        except (OSError, ValueError):
            return None  # whoever reads it says what is there instead
        return (stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size)

    def _read(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except (CorpusError, OSError, sqlite3.Error) as error:
            name = Path(self.place.address).name if self.place.kind != "postgres" else self.name
            detail = str(error).replace(self.place.address, name)
            raise DatabaseUnavailable(f"The database {self.name!r} cannot be read: {detail}") from error
