"""A schema looked up by folded names: which table a column belongs to, what it holds, which keys refer to each other."""

import re
from functools import lru_cache
from typing import Literal

from sqlglot import exp

from sqlconf.signal import SchemaView
from sqlconf.statement import Block, Place, Statement, is_operand
from sqlconf.wording import Phrase, phrase, stems

Kind = Literal["text", "number", "time", "boolean", ""]
Owned = tuple[str, str]
"""A table's and a column's folded names; no table for a subquery's column."""

_SIZES = frozenset(
    stems("amount quantity count number year price cost time rate size total age id code zip speed score weight height "
          "length share level rank points salary room percentage population date day month duration took founded")
)  # fmt: skip
_TIME = frozenset(stems("date year time day month birth dob founded established since"))


@lru_cache(maxsize=4096)
def kind_of(declared: str) -> Kind:
    """What a column of this declared type holds; empty where the type does not tell."""
    folded = declared.casefold()
    if "bool" in folded or folded == "bit":
        return "boolean"
    if "date" in folded or "time" in folded or folded == "year":
        return "time"
    if re.search(r"int|real|floa|doub|num|dec|money|serial", folded):
        return "number"
    return "text" if re.search(r"char|text|string|clob|enum|uuid", folded) else ""


class Catalogue:
    def __init__(self, schema: SchemaView):
        self.tables: dict[str, dict[str, Kind]] = {}
        self.stems: dict[str, frozenset[str]] = {}
        """Of a column's or table's folded name, in the schema's own spelling, so that camelCase is seen."""
        self.column_phrases: dict[Phrase, str] = {}
        self.table_phrases: dict[Phrase, str] = {}
        for table in schema.tables:
            self.tables[table.name.casefold()] = {c.name.casefold(): kind_of(c.type) for c in table.columns}
            self.table_phrases[phrase(table.name)] = table.name
            for name in (table.name, *(column.name for column in table.columns)):
                self.stems[name.casefold()] = self.stems.get(name.casefold(), frozenset()) | set(stems(name))
            self.column_phrases |= {phrase(column.name): column.name for column in table.columns}
        self.columns = frozenset(column for columns in self.tables.values() for column in columns)
        self.words = frozenset(word for words in self.stems.values() for word in words)
        self.table_words = frozenset(word for name in self.tables for word in self.stems[name])
        self.refers: dict[Owned, Owned] = {
            (key.table.casefold(), key.column.casefold()): (
                key.ref_table.casefold(),
                key.ref_column.casefold(),
            )
            for key in schema.foreign_keys
        }
        self.keys = frozenset(self.refers) | frozenset(self.refers.values())

    def owner(self, column: exp.Column, block: Block | None) -> Owned | None:
        """Where a column of the statement belongs; None where the schema has none such."""
        name = column.name.casefold()
        if block is None:
            return None
        if column.table:
            alias = block.table_of(column.table)
            tables = [] if alias is None else [alias]
        else:
            tables = list(block.visible())
        for table in map(str.casefold, tables):
            if not table or table not in self.tables:
                return ("", name)
            if name in self.tables[table]:
                return (table, name)
        return None

    def kind(self, owned: Owned) -> Kind:
        return self.tables.get(owned[0], {}).get(owned[1], "")

    def is_text(self, owned: Owned) -> bool:
        """Whether it holds words: many a column of numbers was declared a text, and its name tells."""
        return self.kind(owned) == "text" and not self.stems_of(owned[1]) & _SIZES

    def is_time(self, owned: Owned) -> bool:
        return self.kind(owned) == "time" or bool(self.stems_of(owned[1]) & _TIME)

    def is_key(self, owned: Owned) -> bool:
        return owned in self.keys or stems(owned[1])[-1:] == ("id",) or "id" in self.stems_of(owned[1])

    def related(self, a: Owned, b: Owned) -> bool:
        """Whether one refers to the other, or both to the same, or they are the same."""
        targets = {self.refers.get(a, a), self.refers.get(b, b)}
        return len(targets) == 1 or self.refers.get(a) == b or self.refers.get(b) == a

    def akin(self, a: Owned, b: Owned) -> bool:
        """Whether two columns are called alike, the table's name lent: suppliers.id and parts.supplier_id."""
        own, other = self.stems_of(a[1]), self.stems_of(b[1])
        if own == other:
            return True
        return (len(own) > 1 and own <= other | self.stems_of(b[0])) or (
            len(other) > 1 and other <= own | self.stems_of(a[0])
        )

    def stems_of(self, name: str) -> frozenset[str]:
        return self.stems.get(name.casefold()) or frozenset(stems(name))

    def text(self, place: Place) -> str | None:
        """The text that a node compares with; None for what is no such literal. SQLite reads "Europe", which names no
        column, as a text.
        """
        node = place.node
        if not is_operand(node):
            return None
        if isinstance(node, exp.Literal) and node.is_string:
            return node.name
        quoted = isinstance(node, exp.Column) and not node.table and node.this.args.get("quoted")
        return node.name if quoted and node.name.casefold() not in self.columns else None

    def texts(self, statement: Statement) -> dict[int, str]:
        """All texts compared with, by their node's id."""
        return {
            id(place.node): text
            for place in statement.all(exp.Literal, exp.Column)
            if (text := self.text(place)) is not None
        }


class _Same:
    """A schema as a key of a cache, by identity: it need not be hashable, and hashing it would cost more than it saves."""

    def __init__(self, schema: SchemaView):
        self.schema = schema

    def __hash__(self) -> int:
        return id(self.schema)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.schema is self.schema


@lru_cache(maxsize=32)
def _catalogue(key: _Same) -> Catalogue:
    return Catalogue(key.schema)


def catalogue(schema: SchemaView) -> Catalogue:
    return _catalogue(_Same(schema))
