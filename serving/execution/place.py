"""Where a database is: of which kind, and the file or the server that holds it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Kind = Literal["sqlite", "duckdb", "postgres"]
KINDS: tuple[Kind, ...] = ("sqlite", "duckdb", "postgres")


@dataclass(frozen=True)
class Place:
    """A file (its absolute path), or a server (libpq's parameters as JSON, password included, and so never shown)."""

    kind: Kind
    address: str = field(repr=False)

    @staticmethod
    def of(where: Place | str | Path) -> Place:
        """A place as it is; a path as a SQLite file's."""
        return where if isinstance(where, Place) else Place("sqlite", str(Path(where).absolute()))
