"""A SQLite database copied into PostgreSQL and DuckDB, as a warehouse would hold it: with types, keys and dates as dates."""

from __future__ import annotations

import re
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import psycopg
from psycopg import sql

from corpus.schema import Column, Schema, Table, read_schema

_NULL = "\\N"
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?")


def to_duckdb(source: Path, target: Path, *, dates: bool = True) -> None:
    """A DuckDB file like the SQLite file `source`; `dates` are of type DATE, else texts as they were."""
    schema = read_schema(source)
    with closing(duckdb.connect(str(target))) as connection:
        for table, types, rows in _tables(source, schema, dates):
            connection.execute(_create(table, types))
            with tempfile.NamedTemporaryFile("w", suffix=".csv", encoding="utf-8", newline="") as file:
                for row in rows:
                    file.write(",".join(map(_csv, row)) + "\n")
                file.flush()
                form = (
                    f"FORMAT csv, HEADER false, DELIMITER ',', QUOTE '\"', ESCAPE '\"', NULLSTR '{_NULL}',"
                    " AUTO_DETECT false, PARALLEL false"
                )
                connection.execute(
                    f"COPY {_quoted(table.name)} FROM '{file.name}' ({form}, ALLOW_QUOTED_NULLS false)"
                )


def to_postgres(source: Path, owner_url: str, name: str, *, dates: bool = True) -> None:
    """A database `name` like the SQLite file `source` on the server that `owner_url`, an administrator's, is of."""
    schema = read_schema(source)
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    with psycopg.connect(owner_url, dbname=name) as connection:
        for table, types, rows in _tables(source, schema, dates):
            connection.execute(_create(table, types))  # type: ignore[arg-type]
            command = sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(table.name))
            with connection.cursor().copy(command) as copy:
                for row in rows:
                    copy.write_row(row)
        connection.execute("ANALYZE")


def _tables(
    source: Path, schema: Schema, dates: bool
) -> Iterator[tuple[Table, list[str], list[tuple[object, ...]]]]:
    with closing(sqlite3.connect(source)) as connection:
        connection.text_factory = lambda raw: raw.decode("utf-8", "replace").replace("\x00", "")
        for table in schema.tables:
            rows = connection.execute(f"SELECT * FROM {_quoted(table.name)}").fetchall()
            columns = list(zip(*rows, strict=True)) if rows else [() for _ in table.columns]
            kinds = [
                _type(column, values, dates) for column, values in zip(table.columns, columns, strict=True)
            ]
            makes = [_MAKES[kind] for kind in kinds]
            yield (
                table,
                kinds,
                [
                    tuple(
                        None if value is None else make(value) for make, value in zip(makes, row, strict=True)
                    )
                    for row in rows
                ],
            )


def _type(column: Column, values: tuple[object, ...], dates: bool) -> str:
    """The narrowest type that holds every value, since SQLite does not hold to what was declared."""
    found = {type(value) for value in values if value is not None}
    if found <= {int} and (found or column.type == "number"):
        return "BIGINT"
    if found <= {int, float}:
        return "DOUBLE PRECISION" if found or column.type == "number" else "TEXT"
    texts = [value for value in values if isinstance(value, str)]
    if dates and found == {str} and all(map(_DAY.fullmatch, texts)):
        return "DATE"
    if dates and found == {str} and all(map(_MOMENT.fullmatch, texts)):
        return "TIMESTAMP"
    return "TEXT"


def _create(table: Table, types: list[str]) -> str:
    columns = [f"{_quoted(column.name)} {kind}" for column, kind in zip(table.columns, types, strict=True)]
    return f"CREATE TABLE {_quoted(table.name)} ({', '.join(columns)})"


def _text(value: object) -> object:
    return value.decode("utf-8", "replace").replace("\x00", "") if isinstance(value, bytes) else str(value)


_MAKES: dict[str, Callable[..., object]] = {
    "BIGINT": int, "DOUBLE PRECISION": float, "TEXT": _text, "DATE": str, "TIMESTAMP": str,
}  # fmt: skip


def _csv(value: object) -> str:
    return _NULL if value is None else '"' + str(value).replace('"', '""') + '"'


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
