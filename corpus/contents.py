"""What stands in a database's text columns, looked up by the words of a question."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from corpus.schema import Schema, connect_read_only

MAX_VALUES = 5_000
"""Distinct values kept for a column; a column with more is read no further."""
MAX_CHARACTERS = 80


def normalise(text: str) -> str:
    return " ".join(text.casefold().split())


class Contents:
    """An index from normalised text to the columns that hold it: `{text: {(table, column): exact value}}`."""

    def __init__(self, values: Iterable[tuple[str, str, str]] = ()):
        self.places: dict[str, dict[tuple[str, str], str]] = defaultdict(dict)
        for table, column, value in values:
            self.places[normalise(value)].setdefault((table, column), value)

    @classmethod
    def read(cls, path: str | Path, schema: Schema) -> "Contents":
        """Index the distinct text values of the SQLite file at `path`. Raises NotADatabase."""
        connection = connect_read_only(path)
        values: list[tuple[str, str, str]] = []
        try:
            for table, column in schema.columns():
                quoted = ['"' + name.replace('"', '""') + '"' for name in (column.name, table.name)]
                query = f"SELECT DISTINCT {quoted[0]} FROM {quoted[1]} WHERE typeof({quoted[0]}) = 'text' LIMIT {MAX_VALUES}"
                for (value,) in connection.execute(query):
                    if 0 < len(value) <= MAX_CHARACTERS:
                        values.append((table.name, column.name, value))
        finally:
            connection.close()
        return cls(values)

    def find(self, text: str) -> dict[tuple[str, str], str]:
        """Columns that hold `text`, case and spacing folded, each with its exact spelling there."""
        return self.places.get(normalise(text), {})
