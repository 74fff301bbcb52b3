"""What a database is like, read from it: tables, columns with their types and comments, keys, and the values of text columns."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, inspect
from sqlalchemy.engine.reflection import ObjectKind
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from corpus.contents import MAX_CHARACTERS, MAX_VALUES, Contents, are_codes
from corpus.schema import Column, ForeignKey, Schema, Table, column_type, read_schema

from ..errors import BadSql, DatabaseAway, DatabaseUnavailable
from ..execution import Place, execute
from ..execution.in_postgres import connect
from ..execution.in_sqlite import check_file

ROWS_LOOKED_AT = 200_000
"""Of a table on a server, for the values of its columns."""


@dataclass(frozen=True)
class Reading:
    """A schema, and by (table, column) the types as the database declares them and the comments; (table, "") is the table's."""

    schema: Schema
    types: Mapping[tuple[str, str], str] = field(default_factory=dict)
    comments: Mapping[tuple[str, str], str] = field(default_factory=dict)


def read(place: Place) -> Reading:
    """Raises DatabaseUnavailable, or CorpusError or sqlite3.Error for what is in a SQLite file."""
    if place.kind == "sqlite":
        check_file(Path(place.address))
        return Reading(read_schema(place.address))
    return _read_duckdb(place) if place.kind == "duckdb" else _read_postgres(place)


def read_contents(place: Place, schema: Schema, seconds: float = 20.0) -> Contents:
    """The values of its text columns; what takes too long is left out. Raises as `read` does."""
    if place.kind == "sqlite":
        return Contents.read(place.address, schema, seconds)
    return _server_contents(place, schema, seconds)


def _server_contents(place: Place, schema: Schema, seconds: float) -> Contents:
    texts = [(table, column) for table, column in schema.columns() if column.type == "text"]
    end = time.monotonic() + seconds
    values: list[tuple[str, str, str]] = []
    codes: dict[tuple[str, str], tuple[str, ...]] = {}
    for i, (table, column) in enumerate(texts):
        left = (end - time.monotonic()) / (len(texts) - i)
        name, source = _quoted(column.name), _quoted(table.name)
        sql = (
            f"SELECT CAST({name} AS VARCHAR), count(*) FROM (SELECT {name} FROM {source} LIMIT {ROWS_LOOKED_AT}) AS part"
            f" WHERE {name} IS NOT NULL GROUP BY 1 LIMIT {MAX_VALUES}"
        )
        try:
            found = execute(place, sql, max_rows=MAX_VALUES, timeout_s=max(left, 0.05)).rows
        except BadSql:
            continue  # too slow, or of a type that cannot be looked at
        texts_found = [str(value) for value, _ in found]
        values += [
            (table.name, column.name, value) for value in texts_found if 0 < len(value) <= MAX_CHARACTERS
        ]
        if are_codes(column, texts_found) and any(count > 1 for _, count in found):  # type: ignore[operator]
            codes[table.name, column.name] = tuple(sorted(texts_found))
    return Contents(values, codes)


def _read_postgres(place: Place) -> Reading:
    """By SQLAlchemy's inspector, over a connection behind the wall; columns that the role may not read are left out."""
    parameters = json.loads(place.address)
    schema = parameters.get("schema", "public")
    engine = create_engine("postgresql+psycopg://", creator=lambda: connect(parameters), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            readable = {(table, column) for table, column in connection.exec_driver_sql(_READABLE, (schema,))}
            found = inspect(connection)
            names = [
                *found.get_table_names(schema),
                *found.get_view_names(schema),
                *found.get_materialized_view_names(schema),
            ]
            columns = _by_table(found.get_multi_columns(schema, kind=_ANY))
            keys = _by_table(found.get_multi_pk_constraint(schema, kind=_ANY))
            links = _by_table(found.get_multi_foreign_keys(schema, kind=_ANY))
            notes = _by_table(found.get_multi_table_comment(schema, kind=_ANY))
    except SQLAlchemyError as error:
        raise DatabaseAway(
            "The database's server went away while its schema was read.", "Try again."
        ) from error
    finally:
        engine.dispose()
    rows: list[_Row] = []
    for table in names:
        own = set((keys.get(table) or {}).get("constrained_columns") or ())
        for column in columns.get(table, ()):
            if (table, column["name"]) in readable:
                declared = str(column["type"].compile(engine.dialect))
                rows.append(
                    _Row(table, column["name"], declared, column["name"] in own, column.get("comment"))
                )
    pairs = [
        ForeignKey(table, here, key["referred_table"], there)
        for table in names
        for key in links.get(table) or ()
        for here, there in zip(key["constrained_columns"], key["referred_columns"], strict=True)
    ]
    told = {table: (notes.get(table) or {}).get("text") for table in names}
    return _reading(rows, pairs, told)


def _by_table(many: Mapping[Any, Any]) -> dict[str, Any]:
    return {table: value for (_, table), value in many.items()}


def _read_duckdb(place: Place) -> Reading:
    rows = [
        _Row(str(table), str(column), str(declared), bool(key), None if note is None else str(note))
        for table, column, declared, key, note in _all(place, _DUCKDB_COLUMNS)
    ]
    pairs = []
    for table, here, other, there in _all(place, _DUCKDB_KEYS):
        for one, another in zip(json.loads(str(here)), json.loads(str(there)), strict=True):
            pairs.append(ForeignKey(str(table), one, str(other), another))
    told = {str(table): None if note is None else str(note) for table, note in _all(place, _DUCKDB_TABLES)}
    return _reading(rows, pairs, told)


@dataclass(frozen=True)
class _Row:
    table: str
    column: str
    declared: str
    key: bool
    comment: str | None


def _reading(rows: list[_Row], pairs: list[ForeignKey], told: Mapping[str, str | None]) -> Reading:
    by_table: dict[str, list[_Row]] = {}
    for row in rows:
        by_table.setdefault(row.table, []).append(row)
    tables = tuple(
        Table(name, tuple(Column(one.column, _type(one.declared), one.key) for one in own))
        for name, own in by_table.items()
    )
    schema = Schema(tables)
    keys = tuple(
        key
        for key in pairs
        if schema.column(key.table, key.column) and schema.column(key.ref_table, key.ref_column)
    )
    comments = {(row.table, row.column): row.comment for row in rows if row.comment}
    comments |= {(table, ""): note for table, note in told.items() if note and table in by_table}
    return Reading(Schema(tables, keys), {(row.table, row.column): row.declared for row in rows}, comments)


def _type(declared: str):  # type: ignore[no-untyped-def]
    if re.search(r"[\[(<]", re.sub(r"\([\d, ]*\)", "", declared)) or declared.lower().startswith(
        ("interval", "point")
    ):
        return "text"
    return column_type(declared)


def _all(place: Place, sql: str) -> list[list[object]]:
    try:
        return list(execute(place, sql, max_rows=100_000, max_bytes=2**26, timeout_s=20.0).rows)  # type: ignore[arg-type]
    except BadSql as error:
        raise DatabaseUnavailable(f"The database's schema cannot be read: {error.message}") from error


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


_ANY = ObjectKind.ANY
_READABLE = """
    SELECT c.relname, a.attname FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE n.nspname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
    AND pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT')
"""
_DUCKDB_COLUMNS = """
    SELECT c.table_name, c.column_name, c.data_type, k.table_name IS NOT NULL, c.comment
    FROM duckdb_columns() AS c
    LEFT JOIN (
        SELECT table_name, unnest(constraint_column_names) AS column_name FROM duckdb_constraints()
        WHERE constraint_type = 'PRIMARY KEY' AND schema_name = 'main'
    ) AS k ON k.table_name = c.table_name AND k.column_name = c.column_name
    WHERE NOT c.internal AND c.schema_name = 'main' ORDER BY c.table_oid, c.column_index
"""
_DUCKDB_KEYS = """
    SELECT table_name, constraint_column_names, referenced_table, referenced_column_names
    FROM duckdb_constraints() WHERE constraint_type = 'FOREIGN KEY' AND schema_name = 'main'
"""
_DUCKDB_TABLES = """
    SELECT table_name, comment FROM duckdb_tables() WHERE NOT internal AND schema_name = 'main'
    UNION ALL SELECT view_name, comment FROM duckdb_views() WHERE NOT internal AND schema_name = 'main'
"""
