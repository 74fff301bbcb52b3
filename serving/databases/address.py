"""Addresses of databases: a path, or a URL as SQLAlchemy writes it, to the place that it names."""

from __future__ import annotations

import json
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from ..errors import BadDatabase
from ..execution.place import Kind, Place

_SUPPORTED = (
    "Supported are sqlite:///path, duckdb:///path, a path, and postgresql://user:password@host/database."
)
_KINDS: dict[str, Kind] = {
    "sqlite": "sqlite",
    "duckdb": "duckdb",
    "postgresql": "postgres",
    "postgres": "postgres",
}
_PARAMETERS = frozenset(
    {"host", "port", "schema", "sslmode", "sslrootcert", "sslcert", "sslkey", "channel_binding", "gssencmode"}
)
"""Of libpq's, those that do not undo what the wall sets (as `options` would)."""


def place_of(url: str) -> Place:
    """Where the database of that address is. Raises BadDatabase, which never repeats the address: it may hold a password."""
    if "\x00" in url or not url.strip():
        raise BadDatabase("The database's address is empty or has a NUL character.", _SUPPORTED)
    if "://" not in url:
        path = _absolute(url)
        return Place("duckdb" if path.suffix.lower() in (".duckdb", ".ddb") else "sqlite", str(path))
    try:
        parsed = make_url(url)
        kind = _KINDS.get(parsed.get_backend_name())
    except (ArgumentError, ValueError) as error:
        raise BadDatabase("The database's address is not a URL that can be read.", _SUPPORTED) from error
    if kind is None:
        raise BadDatabase(
            f"Databases of the kind {parsed.get_backend_name()[:40]!r} are not supported.", _SUPPORTED
        )
    if kind == "postgres":
        return Place("postgres", json.dumps(_parameters(parsed), sort_keys=True))
    if not parsed.database or parsed.database == ":memory:" or parsed.query or parsed.host:
        raise BadDatabase("The address names no file that others can open.", _SUPPORTED)
    return Place(kind, str(_absolute(parsed.database)))


def shown(place: Place) -> str:
    """The address as a person may see it: without the password."""
    if place.kind != "postgres":
        return place.address
    known = json.loads(place.address)
    port = f":{known['port']}" if "port" in known else ""
    return f"postgresql://{known.get('user', '')}@{known.get('host', '')}{port}/{known.get('dbname', '')}"


def _parameters(url: URL) -> dict[str, str]:
    """libpq's parameters of a URL."""
    if not url.database:
        raise BadDatabase("The address names no database of the server.", _SUPPORTED)
    found = {"dbname": url.database}
    if url.username:
        found["user"] = url.username
    if url.password:
        found["password"] = str(url.password)
    if url.host:
        found["host"] = url.host
    if url.port:
        found["port"] = str(url.port)
    for name, value in url.query.items():
        if name not in _PARAMETERS or not isinstance(value, str):
            raise BadDatabase(
                f"The address's parameter {name[:40]!r} is not taken.",
                f"Taken are: {', '.join(sorted(_PARAMETERS))}.",
            )
        found[name] = value
    if any("\x00" in value for value in found.values()):
        raise BadDatabase("The database's address has a NUL character.", _SUPPORTED)
    return found


def _absolute(path: str) -> Path:
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError as error:
        raise BadDatabase(f"The folder that {path[:64]!r} begins with is not known.", _SUPPORTED) from error
