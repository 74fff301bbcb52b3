"""A plain schema, as signals look at one (`sqlconf.signal.SchemaView`), and how CREATE TABLE statements make it."""

import sqlite3
from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    name: str
    type: str


@dataclass(frozen=True)
class ForeignKey:
    table: str
    column: str
    ref_table: str
    ref_column: str


@dataclass(frozen=True)
class Table:
    name: str
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class Schema:
    tables: tuple[Table, ...]
    foreign_keys: tuple[ForeignKey, ...] = ()


def schema_of(ddl: str) -> Schema:
    """Of CREATE TABLE statements in SQLite's dialect. Raises sqlite3.Error."""
    database = sqlite3.connect(":memory:")
    try:
        database.executescript(ddl)
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        tables, keys = [], []
        for name in names:
            info = database.execute("SELECT name, type FROM pragma_table_info(?)", (name,)).fetchall()
            tables.append(Table(name, tuple(Column(*row) for row in info)))
            links = database.execute(
                'SELECT "from", "table", coalesce("to", \'\') FROM pragma_foreign_key_list(?)', (name,)
            )
            keys += [ForeignKey(name, column, table, other) for column, table, other in links]
        return Schema(tuple(tables), tuple(keys))
    finally:
        database.close()
