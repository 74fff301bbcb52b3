"""What there is to ask of one database: its tables and readable columns, each with its role and some of its values."""

import re
import sqlite3
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

from corpus.schema import Column, Schema, Table, connect_read_only
from corpus.synthetic.names import column_phrase, counting, many, readable, spelled_out, table_phrase

ROWS = 800
"""Rows of a table that values are taken from."""
Role = Literal["name", "category", "text", "number", "date", "key"]
_NAMES = frozenset(["name", "title", "label", "nickname", "theme", "headline"])
_NO_QUANTITY = frozenset(
    [
        "zip",
        "postal",
        "phone",
        "telephone",
        "fax",
        "code",
        "number",
        "latitude",
        "longitude",
        "mobile",
        "isbn",
        "social",
        "id",
    ]
)
_PEOPLE = frozenset(
    [
        "person",
        "people",
        "student",
        "employee",
        "singer",
        "teacher",
        "customer",
        "player",
        "author",
        "actor",
        "artist",
        "professor",
        "instructor",
        "staff",
        "member",
        "user",
        "driver",
        "pilot",
        "head",
        "manager",
        "doctor",
        "physician",
        "nurse",
        "patient",
        "host",
        "guest",
        "candidate",
        "coach",
        "director",
        "editor",
        "journalist",
        "musician",
        "scientist",
        "investor",
        "client",
        "worker",
        "gymnast",
        "swimmer",
        "wrestler",
        "climber",
        "perpetrator",
        "victim",
        "entrepreneur",
        "representative",
        "owner",
        "child",
        "parent",
        "friend",
        "visitor",
        "tourist",
        "conductor",
        "builder",
        "mechanic",
        "technician",
        "engineer",
        "reviewer",
        "voter",
        "trustee",
        "advisor",
        "agent",
        "participant",
        "athlete",
        "jockey",
        "rider",
        "captain",
        "resident",
        "faculty",
        "supplier",
        "dancer",
        "writer",
    ]
)
_YES_NO = frozenset(["yes", "no", "y", "n", "t", "f", "true", "false", "0", "1", "0.0", "1.0"])


@dataclass(frozen=True)
class Field:
    """A column worth asking for or by."""

    table: str
    name: str
    said: str
    role: Role
    values: tuple[str | int | float, ...] = ()
    nulls: bool = False
    repeats: bool = False
    """Whether its values recur, so that rows can be grouped by it."""

    @property
    def year(self) -> bool:
        if self.role != "number":
            return False
        numbers = [v for v in self.values if isinstance(v, int | float)]
        within = len(numbers) > 2 and all(1800 <= v <= 2100 for v in numbers) and max(numbers) > 1950
        return self.said.split()[-1] == "year" or (within and self.whole)

    @property
    def whole(self) -> bool:
        return self.role == "number" and all(float(v).is_integer() for v in self.values)


@dataclass(frozen=True)
class Entity:
    """A table, what one of its rows is called, and its fields."""

    table: str
    one: str
    fields: tuple[Field, ...]
    key: Field | None
    rows: int
    link: bool
    flags: tuple[Field, ...] = ()
    """Columns of yes and no: of each the value for yes, then that for no."""
    people: tuple[tuple[str, str], ...] = ()
    """First and last names that stand in one row."""

    @property
    def many(self) -> str:
        return many(self.one)

    @property
    def person(self) -> bool:
        return self.one.split()[-1] in _PEOPLE

    def of(self, *roles: Role) -> list[Field]:
        return [f for f in self.fields if f.role in roles]

    @property
    def titles(self) -> tuple[Field, ...]:
        """The columns that tell which row: a name, or first and last name; nothing where there is none."""
        first = [f for f in self.fields if f.said == "first name"]
        last = [f for f in self.fields if f.said == "last name"]
        if first and last:
            return (first[0], last[0])
        names = self.of("name")
        whole = [
            f for f in names if f.said in ("name", "title", "full name", "company name", f"{self.one} name")
        ]
        return tuple(whole[:1] or (names if len(names) == 1 else ()))


@dataclass(frozen=True)
class Edge:
    """A foreign key: `child.child_column` names one `parent`."""

    child: Entity
    child_column: str
    parent: Entity
    parent_column: str


@dataclass(frozen=True)
class Facts:
    entities: tuple[Entity, ...]
    edges: tuple[Edge, ...]
    bridges: tuple[tuple[Edge, Edge], ...] = field(default=())
    """Pairs of keys of one linking table, each way round."""
    loops: tuple[Edge, ...] = field(default=())
    """Keys of a table to itself."""


def read_facts(schema: Schema, path: str | Path | None) -> Facts:
    """Facts of a database; those that need values are few where `path` is None or all tables are empty."""
    connection = None if path is None else connect_read_only(path)
    try:
        entities = {t.name: _entity(schema, t, connection) for t in schema.tables}
    finally:
        if connection is not None:
            connection.close()
    pairs = Counter(frozenset((k.table, k.ref_table)) for k in schema.joins)
    edges: list[Edge] = []
    loops: list[Edge] = []
    for key in schema.joins:
        child, parent = entities[key.table], entities[key.ref_table]
        target = schema.column(key.ref_table, key.ref_column)
        alone = sum(c.primary_key for c in schema.table(key.ref_table).columns) == 1  # type: ignore[union-attr]
        if child is parent and alone and target and target.primary_key and _said(child):
            loops.append(Edge(child, key.column, parent, key.ref_column))
        clear = pairs[frozenset((key.table, key.ref_table))] == 1 and child is not parent
        if clear and alone and target and target.primary_key and _said(child) and _said(parent):
            edges.append(Edge(child, key.column, parent, key.ref_column))
    bridges = [
        (a, b)
        for a in edges
        for b in edges
        if a.child.table == b.child.table
        and a.parent is not b.parent
        and pairs[frozenset((a.parent.table, b.parent.table))] == 0
        and a.child_column != b.child_column
    ]
    full = tuple(e for e in entities.values() if _said(e) and e.fields)
    return Facts(full, tuple(edges), tuple(bridges), tuple(loops))


def _said(entity: Entity) -> bool:
    return readable(tuple(entity.one.split())) and len(entity.one.split()) <= 5


def _past(due: float) -> bool:
    return time.monotonic() > due


def _entity(schema: Schema, table: Table, connection: sqlite3.Connection | None) -> Entity:
    rows: list[tuple[object, ...]] = []
    if connection is not None:
        connection.set_progress_handler(partial(_past, time.monotonic() + 0.5), 5_000)
        quoted = '"' + table.name.replace('"', '""') + '"'
        columns = ", ".join('"' + c.name.replace('"', '""') + '"' for c in table.columns)
        try:
            rows = connection.execute(f"SELECT {columns} FROM {quoted} LIMIT {ROWS}").fetchall()
        except sqlite3.Error:
            rows = []  # a view that cannot be read, or too slow: asked for without values
    foreign = {k.column for k in schema.joins if k.table == table.name}
    fields = []
    key = None
    flags = []
    for i, column in enumerate(table.columns):
        if flag := _flag(table, column, {row[i] for row in rows if row[i] not in (None, "")}):
            flags.append(flag)
        found = _field(table, column, [row[i] for row in rows], column.name in foreign)
        if found is not None:
            fields.append(found)
        if column.primary_key and sum(c.primary_key for c in table.columns) == 1:
            key = found or Field(table.name, column.name, "id", "key")
            key = replace(key, values=tuple(v for v in (row[i] for row in rows[:60]) if isinstance(v, int)))
    said = Counter(f.said for f in fields)
    fields = [f for f in fields if said[f.said] == 1]
    own = [f for f in fields if f.role != "key"]
    link = len({k.ref_table for k in schema.joins if k.table == table.name}) > 1 and len(own) <= 2
    people = _people(table, fields, rows)
    return Entity(
        table.name, table_phrase(table.name), tuple(fields), key, len(rows), link, tuple(flags), people
    )


def _people(table: Table, fields: list[Field], rows: list[tuple[object, ...]]) -> tuple[tuple[str, str], ...]:
    at = {c.name: i for i, c in enumerate(table.columns)}
    first, last = ([at[f.name] for f in fields if f.said == said] for said in ("first name", "last name"))
    if not first or not last:
        return ()
    pairs = [(row[first[0]], row[last[0]]) for row in rows]
    return tuple(
        (a, b) for a, b in pairs if isinstance(a, str) and isinstance(b, str) and _clean(a) and _clean(b)
    )


def _flag(table: Table, column: Column, values: set[object]) -> Field | None:
    """A column whose values are yes and no in one of their spellings, under a name of one word that says what is so."""
    said = [w for w in spelled_out(column.name) if w not in ("is", "flag", "has", "was")]
    by_name = {str(v).casefold(): v for v in values}
    for yes, no in (("yes", "no"), ("y", "n"), ("t", "f"), ("true", "false"), ("1", "0")):
        if set(by_name) == {yes, no} and len(said) == 1 and re.search(r"(ed|able|ive|al|ent)$", said[0]):
            pair = (by_name[yes], by_name[no])
            return Field(table.name, column.name, said[0], "category", pair)  # type: ignore[arg-type]
    return None


def _field(table: Table, column: Column, values: list[object], foreign: bool) -> Field | None:
    words = spelled_out(column.name)
    if not readable(words) or len(words) > 5:
        return None
    said = column_phrase(column.name, table.name)
    present = [v for v in values if v is not None and v != ""]
    kinds: Counter[object] = Counter(present)
    if present and {str(v).casefold() for v in kinds} <= _YES_NO and not words[-1].startswith("count"):
        return None
    if column.type == "boolean" or words[-1] == "flag":
        return None
    distinct = list(kinds)
    nulls = len(present) < len(values) and any(v is None for v in values)
    repeats = len(distinct) < 0.7 * len(present) and 1 < len(distinct) <= 60

    def make(role: Role, kept: list[object]) -> Field:
        shown = counting(said) if role == "number" else said
        usable = tuple(v for v in kept if isinstance(v, str | int | float))
        return Field(table.name, column.name, shown, role, usable, nulls, repeats)

    if words[-1] in ("id", "ids", "key", "uuid") or (column.primary_key and words[-1].endswith("id")):
        return make("key", [])
    numeric = all(isinstance(v, int | float) for v in distinct)
    if column.type == "number" and numeric:
        if column.primary_key or foreign or _NO_QUANTITY & set(words[-1:]) or words[0] in ("zip", "postal"):
            return make("key", []) if column.primary_key or foreign else make("text", [])
        return make("number", distinct)
    texts = [v.strip() for v in distinct if isinstance(v, str) and v == v.strip() and _clean(v)]
    if column.type == "time" or "date" in words or "time" in words:
        iso = [v for v in texts if re.fullmatch(r"\d{4}-\d{2}-\d{2}( 00:00:00)?", v)]
        if numeric and distinct and words[-1] == "year":
            return make("number", distinct)
        return make("date" if len(iso) == len(texts) else "text", list(iso))
    if distinct and len(texts) < 0.5 * len(distinct):
        return None
    if words[-1] == "year" and numeric and distinct:
        return make("number", distinct)
    if words[-1] in _NAMES and not (repeats and foreign):
        return make("name", list(texts))
    if not (nulls or distinct):
        return make("text", [])
    return make("category" if repeats else "text", list(texts))


def _clean(value: str) -> bool:
    """Short enough and of signs that one would type."""
    return (
        0 < len(value) <= 40 and re.fullmatch(r"[\w .,&'()/+:@-]+", value) is not None and value.isprintable()
    )
