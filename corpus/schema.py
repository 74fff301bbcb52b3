"""What a database looks like: tables, typed columns, keys. Read from a SQLite file or from its DDL."""

import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from corpus.errors import CorpusError, NotADatabase

ColumnType = Literal["text", "number", "time", "boolean"]


@dataclass(frozen=True)
class Column:
    name: str
    type: ColumnType = "text"
    primary_key: bool = False


@dataclass(frozen=True)
class Table:
    name: str
    columns: tuple[Column, ...]
    view: bool = False


@dataclass(frozen=True)
class ForeignKey:
    table: str
    column: str
    ref_table: str
    ref_column: str


@dataclass(frozen=True)
class Schema:
    """A database's tables and how they join. Names keep the database's own spelling; look-ups fold case."""

    tables: tuple[Table, ...]
    foreign_keys: tuple[ForeignKey, ...] = ()

    @cached_property
    def _tables(self) -> dict[str, Table]:
        return {table.name.casefold(): table for table in self.tables}

    @cached_property
    def _columns(self) -> dict[tuple[str, str], Column]:
        return {(t.name.casefold(), c.name.casefold()): c for t in self.tables for c in t.columns}

    def table(self, name: str) -> Table | None:
        return self._tables.get(name.casefold())

    def column(self, table: str, name: str) -> Column | None:
        return self._columns.get((table.casefold(), name.casefold()))

    def columns(self) -> Iterator[tuple[Table, Column]]:
        for table in self.tables:
            for column in table.columns:
                yield table, column

    def without_repeats(self) -> "Schema":
        """Without the views that have no column but by a name that a table has: what they say, the tables do."""
        stored = {c.name.casefold() for t in self.tables if not t.view for c in t.columns}
        kept = tuple(
            t for t in self.tables if not t.view or any(c.name.casefold() not in stored for c in t.columns)
        )
        return self if len(kept) == len(self.tables) else Schema(kept, self.foreign_keys)

    @cached_property
    def joins(self) -> tuple[ForeignKey, ...]:
        """Declared foreign keys; where two tables declare none, those that equal key names suggest; and where tables
        still are not connected, those that a name suggests: `start_station_id` for `station.id`, then equal names.
        """
        joins = list(self.foreign_keys)
        joined = {frozenset((k.table.casefold(), k.ref_table.casefold())) for k in joins}
        for table, column in self.columns():
            if column.name.casefold() in {"id", "name"}:
                continue
            for other in self.tables:
                target = self.column(other.name, column.name)
                pair = frozenset((table.name.casefold(), other.name.casefold()))
                if other is table or pair in joined or target is None or not target.primary_key:
                    continue
                joins.append(ForeignKey(table.name, column.name, other.name, target.name))
                joined.add(pair)
        return (*joins, *_bridges(self, joins))


def _bridges(schema: Schema, joins: list[ForeignKey]) -> Iterator[ForeignKey]:
    """Keys that names suggest between tables that `joins` leave apart."""
    island = {table.name.casefold(): i for i, table in enumerate(schema.tables)}

    def bridge(key: ForeignKey) -> bool:
        one, other = island.get(key.table.casefold()), island.get(key.ref_table.casefold())
        for name, number in island.items():
            if number == other and one is not None:
                island[name] = one
        return one != other

    for key in joins:
        bridge(key)
    if len(set(island.values())) <= 1:
        return
    yield from filter(bridge, [*_named_after_tables(schema), *_equally_named(schema)])


def _named_after_tables(schema: Schema) -> Iterator[ForeignKey]:
    """`station_id` or `start_station_id` for the key of `station` or `stations`."""
    for other in schema.tables:
        own = [column.name for column in other.columns if column.primary_key] or [
            column.name for column in other.columns if column.name.casefold() in _KEY_ENDINGS
        ]
        if len(own) != 1:
            continue
        names = {"".join(_words(name)) for name in (other.name, other.name.removesuffix("s"))}
        for table in schema.tables:
            for column in table.columns if table is not other else ():
                words = _words(column.name)
                if words and words[-1] in _KEY_ENDINGS:
                    words.pop()
                    if any("".join(words[start:]) in names for start in range(len(words))):
                        yield ForeignKey(table.name, column.name, other.name, own[0])


def _equally_named(schema: Schema) -> Iterator[ForeignKey]:
    """Columns of one name that looks like a key's: `zip_code` of two tables."""
    at: dict[str, list[tuple[Table, Column]]] = {}
    for table, column in schema.columns():
        words = _words(column.name)
        if len(words) > 1 and words[-1] in _KEY_ENDINGS:
            at.setdefault("".join(words), []).append((table, column))
    for (first, column), *rest in at.values():
        for table, other in rest:
            yield ForeignKey(table.name, other.name, first.name, column.name)


_KEY_ENDINGS = frozenset(["id", "code", "key", "no", "nr", "number", "num"])


def _words(name: str) -> list[str]:
    """`startStation_ID` in its words, folded."""
    return [word.casefold() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\dA-Z_]+|\d+", name)]


def column_type(declared: str) -> ColumnType:
    """SQLite's loose declared type, in four kinds."""
    declared = declared.casefold()
    if "bool" in declared or declared == "bit":
        return "boolean"
    if "date" in declared or "time" in declared or declared == "year":
        return "time"
    if re.search(r"int|real|floa|doub|num|dec|money|serial", declared):
        return "number"
    return "text"


def connect_read_only(path: str | Path) -> sqlite3.Connection:
    """Open a SQLite file for reading. Raises NotADatabase where there is none."""
    path = Path(path)
    if not path.is_file():
        raise NotADatabase(f"{path}: no such database file; give the path of a SQLite database.")
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, check_same_thread=False)
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError as error:
        connection.close()
        raise NotADatabase(f"{path}: {error}; expected a SQLite database file.") from error
    return connection


def read_schema(path: str | Path) -> Schema:
    """Schema of the SQLite file at `path`. Raises NotADatabase."""
    connection = connect_read_only(path)
    try:
        return _introspect(connection)
    except sqlite3.Error as error:
        raise NotADatabase(f"{path}: {error}; its schema cannot be read.") from error
    finally:
        connection.close()


def schema_from_ddl(ddl: str) -> Schema:
    """Schema that SQLite makes of CREATE TABLE statements. Raises CorpusError where SQLite refuses them."""
    connection = sqlite3.connect(":memory:")
    try:
        connection.executescript(ddl)
        return _introspect(connection)
    except sqlite3.Error as error:
        raise CorpusError(f"DDL not understood by SQLite: {error}") from error
    finally:
        connection.close()


def _introspect(connection: sqlite3.Connection) -> Schema:
    names = [
        (row[0], row[1] == "view")
        for row in connection.execute(
            "SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
            " ORDER BY rowid"
        )
    ]
    tables = []
    for name, view in names:
        try:
            info = connection.execute(f"PRAGMA table_info({_quote(name)})").fetchall()
        except sqlite3.OperationalError:
            continue  # a view on what is gone, a virtual table of a module that is not here: none can be read
        if info:
            tables.append(
                Table(
                    name, tuple(Column(row[1], column_type(row[2] or ""), bool(row[5])) for row in info), view
                )
            )
    bare = Schema(tuple(tables))
    keys = []
    for table in tables:
        for row in connection.execute(f"PRAGMA foreign_key_list({_quote(table.name)})"):
            target = bare.table(row[2])
            here = bare.column(table.name, row[3])
            if target is None or here is None:
                continue
            primary = next((c.name for c in target.columns if c.primary_key), None)
            there = bare.column(target.name, row[4] or primary or "")
            if there is not None:
                keys.append(ForeignKey(table.name, here.name, target.name, there.name))
    return Schema(tuple(tables), tuple(reversed(keys)))


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
