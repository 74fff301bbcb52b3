"""A database put among the tables of others: what a question on it meets in a large schema."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from corpus.schema import connect_read_only

ROWS = 40
"""Of each distractor's table."""


def put_among(own: Path, others: Sequence[Path], into: Path, tables: int, bare: Sequence[str] = ()) -> int:
    """Copy `own` to `into` and add tables of `others`, in their order, until there are `tables`; how many there are.

    Where the others do not suffice, empty ones are added of the CREATE TABLE statements `bare`.

    A table whose name is taken is left out, so that what a name means stays what it was. Keys go along where both ends do.
    """
    with closing(connect_read_only(own)) as source, closing(sqlite3.connect(into)) as target:
        source.backup(target)
    with closing(sqlite3.connect(into)) as target:
        target.execute("PRAGMA foreign_keys = OFF")
        target.execute("PRAGMA synchronous = OFF")
        taken = {row[0].casefold() for row in target.execute("SELECT name FROM sqlite_master")}
        count = target.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'").fetchone()[0]
        for other in others:
            with closing(connect_read_only(other)) as source:
                listed = source.execute(
                    "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY rowid"
                ).fetchall()
                for name, ddl in listed:
                    if count >= tables or name.casefold() in taken:
                        continue
                    target.execute(ddl)
                    taken.add(name.casefold())
                    count += 1
                    quoted = '"' + name.replace('"', '""') + '"'
                    rows = source.execute(f"SELECT * FROM {quoted} LIMIT {ROWS}").fetchall()
                    if rows:
                        marks = ", ".join("?" * len(rows[0]))
                        target.executemany(f"INSERT OR IGNORE INTO {quoted} VALUES ({marks})", rows)
            if count >= tables:
                break
        for ddl in bare:
            if count >= tables:
                break
            try:
                target.execute(ddl)
                count += 1
            except sqlite3.OperationalError:
                continue  # its name is taken
        target.commit()
    return count
