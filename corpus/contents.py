"""What stands in a database's text columns, looked up by the words of a question."""

import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from corpus.errors import NotADatabase
from corpus.schema import Schema, connect_read_only

MAX_VALUES = 5_000
"""Distinct values kept for a column; a column with more is read no further."""
MAX_CHARACTERS = 80


def normalise(text: str) -> str:
    return " ".join(text.casefold().split())


def _past(due: float) -> bool:
    return time.monotonic() > due


class Contents:
    """An index from normalised text to the columns that hold it: `{text: {(table, column): exact value}}`."""

    def __init__(self, values: Iterable[tuple[str, str, str]] = ()):
        self.places: dict[str, dict[tuple[str, str], str]] = defaultdict(dict)
        for table, column, value in values:
            self.places[normalise(value)].setdefault((table, column), value)
        self._tables: frozenset[str] | None = None

    def within(self, tables: Iterable[str]) -> "Contents":
        """The same of `tables` alone: a view, nothing is copied."""
        part = Contents()
        part.places, part._tables = self.places, frozenset(tables)
        return part

    @classmethod
    def read(cls, path: str | Path, schema: Schema, seconds: float = 20.0) -> "Contents":
        """Index the distinct text values of the SQLite file at `path`. Raises NotADatabase.

        What takes too long is left out: `seconds` is for the whole file, shared evenly by the columns yet to be read.
        """
        connection = connect_read_only(path)
        values: list[tuple[str, str, str]] = []
        columns = list(schema.columns())
        end = time.monotonic() + seconds
        try:
            for i, (table, column) in enumerate(columns):
                now = time.monotonic()
                due = now + max(end - now, 0.0) / (len(columns) - i)
                connection.set_progress_handler(partial(_past, due), 10_000)
                quoted = ['"' + name.replace('"', '""') + '"' for name in (column.name, table.name)]
                query = (
                    f"SELECT DISTINCT {quoted[0]} FROM {quoted[1]} WHERE typeof({quoted[0]}) = 'text' "
                    f"LIMIT {MAX_VALUES}"
                )
                try:
                    for (value,) in connection.execute(query):
                        if 0 < len(value) <= MAX_CHARACTERS:
                            values.append((table.name, column.name, value))
                except sqlite3.OperationalError:
                    continue  # interrupted, or a view that cannot be read: what was found so far stays
        except sqlite3.Error as error:
            raise NotADatabase(f"{path}: {error}; its contents cannot be read.") from error
        finally:
            connection.close()
        return cls(values)

    def find(self, text: str) -> dict[tuple[str, str], str]:
        """Columns that hold `text`, case and spacing folded, each with its exact spelling there."""
        found = self.places.get(normalise(text), {})
        if self._tables is None:
            return found
        return {place: value for place, value in found.items() if place[0] in self._tables}
