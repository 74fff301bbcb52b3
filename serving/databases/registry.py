"""Databases by name, kept in a state folder; secrets among their addresses are sealed."""

from __future__ import annotations

import json
import os
import re
import tempfile
import threading
from pathlib import Path
from typing import Any

from corpus.demo import build_demo_database

from ..errors import BadDatabase, DatabaseUnavailable, StateError, UnknownDatabase
from ..execution import Place
from ..execution.place import KINDS, Kind
from .address import place_of, shown
from .database import Database
from .seal import Seal

DEMO = "demo"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class Databases:
    """Named databases, kept as JSON in a state folder; `demo` is always there, generated at first use.

    `key` seals the addresses of servers, which hold passwords; without one, a key is made beside them.
    """

    def __init__(self, home: str | Path, key: str | None = None) -> None:
        self.home = Path(home)
        self._seal = Seal(self.home, key)
        self._file = self.home / "databases.json"
        self._lock = threading.RLock()
        self._open: dict[str, Database] = {}

    def names(self) -> list[str]:
        return [DEMO, *sorted(self._registered())]

    def location(self, name: str) -> str:
        """The address that `name` stands for, without its password. Raises UnknownDatabase."""
        if name == DEMO:
            return str(self.home / "demo.sqlite")
        entry = self._entry(name)
        return entry if isinstance(entry, str) else str(entry["shown"])

    def kind(self, name: str) -> Kind:
        """Of which kind it is, as registered. Raises UnknownDatabase."""
        entry = "" if name == DEMO else self._entry(name)
        return next(kind for kind in KINDS if isinstance(entry, str) or kind == entry["kind"])

    def get(self, name: str) -> Database:
        """The database of that name. Raises UnknownDatabase; the place itself is looked at when it is read."""
        if name == DEMO:
            self._build_demo(self.home / "demo.sqlite")
        place = Place.of(self.home / "demo.sqlite") if name == DEMO else self._place(self._entry(name))
        with self._lock:
            known = self._open.get(name)
            if known is None or known.place != place:
                known = self._open[name] = Database(name, place)
            return known

    def resolve(self, name_or_url: str) -> Database:
        """A registered name, or the address of a database that is not registered."""
        if name_or_url in self.names():
            return self.get(name_or_url)
        if "://" not in name_or_url and not _exists(name_or_url):
            return self.get(name_or_url)
        place = place_of(name_or_url)
        name = json.loads(place.address)["dbname"] if place.kind == "postgres" else Path(place.address).stem
        database = Database(name, place)
        database.schema()
        return database

    def add(self, name: str, url: str, *, files_in: Path | None = None) -> Database:
        """Register `url` as `name`, replacing none, once its schema has been read.

        Files are taken from `files_in` alone, if it is given (as for administrators who come over the network).
        Raises BadDatabase or DatabaseUnavailable; neither repeats the address.
        """
        if not _NAME.fullmatch(name):
            raise BadDatabase(
                f"{name[:64]!r} cannot be a database's name.",
                "Use up to 64 letters, digits, '_', '-' and '.'.",
            )
        database = Database(name, place_of(url))
        if database.dialect != "postgres" and files_in is not None:
            _check_inside(database.path, files_in)
        with self._lock:
            if name in self.names():
                raise BadDatabase(
                    f"There is a database {name!r} already.", f"First: suresql db remove {name}"
                )
            database.schema()
            self._save({**self._registered(), name: self._entry_of(database.place)})
        return database

    def remove(self, name: str) -> None:
        """Forget `name`; the database stays. Raises UnknownDatabase."""
        if name == DEMO:
            raise BadDatabase("The demo database is built in and cannot be removed.")
        with self._lock:
            self._entry(name)
            self._save({known: entry for known, entry in self._registered().items() if known != name})
            self._open.pop(name, None)

    def _entry(self, name: str) -> str | dict[str, str]:
        try:
            return self._registered()[name]
        except KeyError:
            raise UnknownDatabase(
                f"There is no database {name[:64]!r}.", f"Known are: {', '.join(self.names()[:20])}."
            ) from None

    def _entry_of(self, place: Place) -> str | dict[str, str]:
        """As it is kept: a SQLite file by its path alone; of a server, the whole address sealed."""
        if place.kind == "sqlite":
            return place.address
        if place.kind == "duckdb":
            return {"kind": place.kind, "shown": place.address}
        return {"kind": place.kind, "shown": shown(place), "sealed": self._seal.close(place.address)}

    def _place(self, entry: str | dict[str, str]) -> Place:
        if isinstance(entry, str):
            return Place("sqlite", entry)
        if entry["kind"] == "duckdb":
            return Place("duckdb", entry["shown"])
        return Place("postgres", self._seal.open(entry["sealed"]))

    def _registered(self) -> dict[str, str | dict[str, str]]:
        try:
            found = json.loads(self._file.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise StateError(
                f"{self._file} cannot be read: {error}.", "Mend it, or remove it to start afresh."
            ) from error
        if not isinstance(found, dict) or not all(map(_is_entry, found.values())):
            raise StateError(
                f"{self._file} is not an object of names and addresses.", "Remove it to start afresh."
            )
        return found

    def _save(self, registered: dict[str, str | dict[str, str]]) -> None:
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


def _is_entry(entry: Any) -> bool:
    if isinstance(entry, str):
        return True
    wanted = {"kind", "shown"} | (
        {"sealed"} if isinstance(entry, dict) and entry.get("kind") == "postgres" else set()
    )
    return (
        isinstance(entry, dict)
        and wanted <= entry.keys()
        and entry["kind"] in KINDS
        and all(isinstance(value, str) for value in entry.values())
    )


def _check_inside(path: Path, folder: Path) -> None:
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError) as error:
        raise DatabaseUnavailable("The file's name cannot be followed.") from error
    if not inside:
        raise BadDatabase(
            "The file is outside the folder that databases may be added from.", "Move it there first."
        )


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:  # longer than a path may be, or in a folder that this user may not look into
        return False
