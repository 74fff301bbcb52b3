"""What a database is like, as JSON for programs and people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import ServingError
from .database import Database
from .registry import Databases

_SAMPLES = 3


def describe(database: Database) -> dict[str, Any]:
    """A database's schema as JSON: tables with typed columns, their comments and some values, and the keys that join them."""
    known = database.reading()
    schema, comments = known.schema, known.comments
    samples: dict[tuple[str, str], list[str]] = {}
    for places in database.contents().places.values():
        for place, value in places.items():
            if len(found := samples.setdefault(place, [])) < _SAMPLES:
                found.append(value)
    return {
        "name": database.name,
        "dialect": database.dialect,
        "tables": [
            {
                "name": table.name,
                "comment": comments.get((table.name, "")),
                "columns": [
                    {
                        "name": column.name,
                        "type": column.type,
                        "declared": known.types.get((table.name, column.name)),
                        "primary_key": column.primary_key,
                        "comment": comments.get((table.name, column.name)),
                        "samples": samples.get((table.name, column.name), []),
                    }
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
        line: dict[str, Any] = {"name": name, "dialect": databases.kind(name), "tables": [], "error": None}
        try:
            line["tables"] = [table.name for table in databases.get(name).schema().tables]
        except ServingError as error:
            line["error"] = error.message
        lines.append(line)
    return lines
