"""What stands in a database's text columns, looked up by the words of a question."""

import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from corpus.errors import NotADatabase
from corpus.schema import Column, Schema, connect_read_only

MAX_VALUES = 5_000
"""Distinct values kept for a column; a column with more is read no further."""
MAX_CHARACTERS = 80
MAX_CODES, CODE_CHARACTERS = 5, 14
"""A column that has no more different texts than that, none longer, is of codes: its values stand in the prompt."""
Place = tuple[str, str]
"""A table and a column."""


def normalise(text: str) -> str:
    return " ".join(text.casefold().split())


def _past(due: float) -> bool:
    return time.monotonic() > due


def are_codes(column: Column, values: Sequence[str]) -> bool:
    """Whether these, all that a column has, are few and short enough to be codes."""
    return (
        column.type in ("text", "boolean")
        and not column.primary_key
        and 0 < len(values) <= MAX_CODES
        and all(0 < len(value) <= CODE_CHARACTERS for value in values)
    )


class Contents:
    """An index from normalised text to the columns that hold it: `{text: {(table, column): exact value}}`.

    `codes` has all values of columns that hold few and repeat them: a status, a flag, a kind.
    """

    def __init__(
        self,
        values: Iterable[tuple[str, str, str]] = (),
        codes: Mapping[Place, tuple[str, ...]] | None = None,
    ):
        self.places: dict[str, dict[Place, str]] = defaultdict(dict)
        for table, column, value in values:
            self.places[normalise(value)].setdefault((table, column), value)
        self.codes: Mapping[Place, tuple[str, ...]] = codes or {}
        self._tables: frozenset[str] | None = None

    def within(self, tables: Iterable[str]) -> "Contents":
        """The same of `tables` alone: a view, nothing is copied."""
        part = Contents()
        part.places, part.codes, part._tables = self.places, self.codes, frozenset(tables)
        return part

    @classmethod
    def read(cls, path: str | Path, schema: Schema, seconds: float = 20.0) -> "Contents":
        """Index the distinct text values of the SQLite file at `path`. Raises NotADatabase.

        What takes too long is left out: `seconds` is for the whole file, shared evenly by the columns yet to be read.
        """
        connection = connect_read_only(path)
        values: list[tuple[str, str, str]] = []
        codes: dict[Place, tuple[str, ...]] = {}
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
                    found = [value for (value,) in connection.execute(query)]
                    values += [
                        (table.name, column.name, value)
                        for value in found
                        if 0 < len(value) <= MAX_CHARACTERS
                    ]
                    if are_codes(column, found):
                        ((count,),) = connection.execute(f"SELECT count({quoted[0]}) FROM {quoted[1]}")
                        if count > len(found):
                            codes[table.name, column.name] = tuple(sorted(found))
                except sqlite3.OperationalError:
                    continue  # interrupted, or a view that cannot be read: what was found so far stays
        except sqlite3.Error as error:
            raise NotADatabase(f"{path}: {error}; its contents cannot be read.") from error
        finally:
            connection.close()
        return cls(values, codes)

    def find(self, text: str) -> dict[tuple[str, str], str]:
        """Columns that hold `text`, case and spacing folded, each with its exact spelling there."""
        found = self.places.get(normalise(text), {})
        if self._tables is None:
            return found
        return {place: value for place, value in found.items() if place[0] in self._tables}
