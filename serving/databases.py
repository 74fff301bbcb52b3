"""The databases that questions may be asked of: names, where they lie, and their schemas."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from corpus.contents import Contents
from corpus.demo import build_demo_database
from corpus.errors import CorpusError
from corpus.schema import Schema, read_schema

from .errors import BadDatabase, DatabaseUnavailable, ServingError, StateError, UnknownDatabase
from .execution import Result, check_file, compiles, execute
from .guard import check

DEMO = "demo"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_SUPPORTED = "Supported are SQLite files: a path, or sqlite:///path/to/file.sqlite."


class Database:
    """One SQLite database: its schema and contents, read once and again whenever the file changes."""

    dialect = "sqlite"

    def __init__(self, name: str, path: str | Path) -> None:
        self.name = name
        self.path = Path(path)
        self._lock = threading.Lock()
        self._stamp: tuple[int, int] | None = None
        self._schema: Schema | None = None
        self._contents: Contents | None = None

    def schema(self) -> Schema:
        """Its tables, columns and keys. Raises DatabaseUnavailable."""
        with self._lock:
            self._refresh()
            if self._schema is None:
                self._schema = self._read(lambda: read_schema(self.path))
            return self._schema

    def contents(self) -> Contents:
        """Its text values, for finding which of a question's words are values. Raises DatabaseUnavailable."""
        schema = self.schema()
        with self._lock:
            if self._contents is None:
                self._contents = self._read(lambda: Contents.read(self.path, schema))
            return self._contents

    def execute(self, sql: str, **limits: Any) -> Result:
        """Run `sql`, written in SQLite's dialect, behind both walls. Raises GuardError, BadSql or DatabaseUnavailable.

        `limits` are max_rows, max_bytes and timeout_s.
        """
        check(sql)
        return execute(self.path, sql, **limits)

    def compiles(self, sql: str) -> None:
        """Raise GuardError or BadSql, saying why, unless both walls let `sql` pass. Reads no data."""
        check(sql)
        compiles(self.path, sql)

    def execute_known(self, sql: str, **limits: Any) -> Result:
        """Run `sql` that comes with a data set, not from a model or a user: behind the database's own wall alone."""
        return execute(self.path, sql, **limits)

    def _refresh(self) -> None:
        check_file(self.path)
        stat = self._read(self.path.stat)
        stamp = (stat.st_mtime_ns, stat.st_size)
        if stamp != self._stamp:
            self._stamp, self._schema, self._contents = stamp, None, None

    def _read(self, read: Any) -> Any:
        try:
            return read()
        except (CorpusError, OSError, sqlite3.Error) as error:
            detail = str(error).replace(str(self.path), self.path.name)
            raise DatabaseUnavailable(f"The database {self.name!r} cannot be read: {detail}") from error


class Databases:
    """Named databases, kept as JSON in a state folder; `demo` is always there, generated at first use."""

    def __init__(self, home: str | Path) -> None:
        self.home = Path(home)
        self._file = self.home / "databases.json"
        self._lock = threading.RLock()
        self._open: dict[str, Database] = {}

    def names(self) -> list[str]:
        return [DEMO, *sorted(self._registered())]

    def location(self, name: str) -> Path:
        """The file that `name` stands for, whether or not it is there. Raises UnknownDatabase."""
        if name == DEMO:
            return self.home / "demo.sqlite"
        try:
            return Path(self._registered()[name])
        except KeyError:
            raise UnknownDatabase(
                f"There is no database {name[:64]!r}.", f"Known are: {', '.join(self.names()[:20])}."
            ) from None

    def get(self, name: str) -> Database:
        """The database of that name. Raises UnknownDatabase; the file itself is looked at when it is read."""
        path = self.location(name)
        if name == DEMO:
            self._build_demo(path)
        with self._lock:
            known = self._open.get(name)
            if known is None or known.path != path:
                known = self._open[name] = Database(name, path)
            return known

    def resolve(self, name_or_url: str) -> Database:
        """A registered name, or the address of a database that is not registered."""
        if name_or_url in self.names():
            return self.get(name_or_url)
        if "://" not in name_or_url and not _exists(name_or_url):
            return self.get(name_or_url)
        path = sqlite_path(name_or_url)
        check_file(path)
        return Database(path.stem, path)

    def add(self, name: str, url: str) -> Database:
        """Register `url` as `name`, replacing none. Raises BadDatabase or DatabaseUnavailable."""
        if not _NAME.fullmatch(name):
            raise BadDatabase(
                f"{name[:64]!r} cannot be a database's name.",
                "Use up to 64 letters, digits, '_', '-' and '.'.",
            )
        database = Database(name, sqlite_path(url))
        with self._lock:
            if name in self.names():
                raise BadDatabase(
                    f"There is a database {name!r} already.", f"First: suresql db remove {name}"
                )
            database.schema()
            self._save({**self._registered(), name: str(database.path)})
        return database

    def remove(self, name: str) -> None:
        """Forget `name`; its file stays. Raises UnknownDatabase."""
        if name == DEMO:
            raise BadDatabase("The demo database is built in and cannot be removed.")
        with self._lock:
            self.location(name)
            self._save({known: path for known, path in self._registered().items() if known != name})
            self._open.pop(name, None)

    def _registered(self) -> dict[str, str]:
        try:
            found = json.loads(self._file.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise StateError(
                f"{self._file} cannot be read: {error}.", "Mend it, or remove it to start afresh."
            ) from error
        if not isinstance(found, dict) or not all(isinstance(path, str) for path in found.values()):
            raise StateError(
                f"{self._file} is not an object of names and paths.", "Remove it to start afresh."
            )
        return found

    def _save(self, registered: dict[str, str]) -> None:
        """Whole or not at all: written beside the file, then put in its place."""
        try:
            self.home.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=self.home, suffix=".tmp", delete=False) as file:
                json.dump(registered, file, indent=2, sort_keys=True)
                file.flush()
                os.fsync(file.fileno())
            Path(file.name).replace(self._file)
        except OSError as error:
            raise StateError(
                f"{self._file} cannot be written: {error.strerror}.", "Set SURESQL_HOME."
            ) from error

    def _build_demo(self, path: Path) -> None:
        with self._lock:
            if path.exists():
                return
            try:
                self.home.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryDirectory(dir=self.home) as folder:
                    built = Path(folder) / path.name
                    build_demo_database(built)
                    built.replace(path)
            except OSError as error:
                raise StateError(
                    f"The demo database cannot be built in {self.home}: {error.strerror}.",
                    "Set SURESQL_HOME.",
                ) from error


def sqlite_path(url: str) -> Path:
    """The file that an address names: a path, or a URL as SQLAlchemy writes it. Raises BadDatabase."""
    if "\x00" in url or not url.strip():
        raise BadDatabase("The database's address is empty or has a NUL character.", _SUPPORTED)
    if "://" not in url:
        return _absolute(url)
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise BadDatabase("The database's address is not a URL that can be read.", _SUPPORTED) from error
    if parsed.get_backend_name() != "sqlite":
        raise BadDatabase(
            f"Databases of the kind {parsed.get_backend_name()!r} are not supported yet.", _SUPPORTED
        )
    if not parsed.database or parsed.database == ":memory:" or parsed.query:
        raise BadDatabase("The address names no file that others can open.", _SUPPORTED)
    return _absolute(parsed.database)


def _absolute(path: str) -> Path:
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError as error:
        raise BadDatabase(f"The folder that {path[:64]!r} begins with is not known.", _SUPPORTED) from error


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:  # longer than a path may be, or in a folder that this user may not look into
        return False


def describe(database: Database) -> dict[str, Any]:
    """A database's schema as JSON: tables with typed columns, and the keys that join them."""
    schema = database.schema()
    return {
        "name": database.name,
        "dialect": database.dialect,
        "tables": [
            {
                "name": table.name,
                "columns": [
                    {"name": column.name, "type": column.type, "primary_key": column.primary_key}
                    for column in table.columns
                ],
            }
            for table in schema.tables
        ],
        "foreign_keys": [
            {
                "table": key.table,
                "column": key.column,
                "ref_table": key.ref_table,
                "ref_column": key.ref_column,
            }
            for key in schema.foreign_keys
        ],
    }


def summaries(databases: Databases, names: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """One line for each database; one that cannot be read is listed with why, not left out."""
    lines: list[dict[str, Any]] = []
    for name in databases.names() if names is None else names:
        line: dict[str, Any] = {"name": name, "dialect": Database.dialect, "tables": [], "error": None}
        try:
            line["tables"] = [table.name for table in databases.get(name).schema().tables]
        except ServingError as error:
            line["error"] = error.message
        lines.append(line)
    return lines
