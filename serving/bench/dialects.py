"""The same questions' known SQL on SQLite, PostgreSQL and DuckDB: the share that answers the same rows on all three.

The demo is copied twice: with its dates as DATE, as a warehouse has them, and as texts, as SQLite has them. With SURESQL_DATA
set, Spider's dev questions too, each on copies of its own database.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg
import sqlglot
from sqlglot import exp

from corpus.compare import is_ordered, same_answer
from corpus.demo import build_demo_database
from corpus.demo_questions import SPLITS, demo_questions
from corpus.spider import read_examples

from ..databases import Database, reader_role_sql
from ..databases.address import place_of
from ..errors import ServingError
from ..settings import Settings
from .cluster import READER_PASSWORD, Cluster, cluster
from .copies import to_duckdb, to_postgres

A_SPLIT = 400
"""Demo questions of each split."""
_LIMITS: dict[str, Any] = {"max_rows": 100_000, "max_bytes": 2**26, "timeout_s": 30.0}
_EXAMPLES = 12


def run(settings: Settings) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name, cluster() as server:
        folder = Path(name)
        demo = folder / "demo.sqlite"
        build_demo_database(demo)
        statements = sorted(
            {
                example.sql
                for split in SPLITS
                for example in demo_questions(A_SPLIT, 0, split, demo)
                if example.sql
            }
        )
        for dates in (True, False):
            databases = copies(demo, folder / str(dates), server, dates=dates)
            figures["demo, dates as DATE" if dates else "demo, dates as TEXT"] = compare(
                statements, databases
            )
        if settings.data is not None:
            figures["spider dev"] = _spider(settings.data / "spider", folder, server)
    return figures


def copies(source: Path, folder: Path, server: Cluster, *, dates: bool = True) -> dict[str, Database]:
    """`source` itself and its copies, each asked as a user would: on PostgreSQL by a role that can only read."""
    folder.mkdir(exist_ok=True)
    to_duckdb(source, folder / f"{source.stem}.duckdb", dates=dates)
    name = f"{source.stem}_{'dates' if dates else 'texts'}".lower()
    to_postgres(source, server.url("owner"), name, dates=dates)
    make_reader(server, name)
    return {
        "sqlite": Database(source.stem, source),
        "duckdb": Database(source.stem, place_of(f"duckdb:///{folder / source.stem}.duckdb")),
        "postgres": Database(source.stem, place_of(server.url("reader", name))),
    }


def make_reader(server: Cluster, database: str) -> None:
    """Give the role `reader` the right to read `database`, as `suresql db reader-role` says."""
    with psycopg.connect(server.url("owner", database), autocommit=True) as connection:
        known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = 'reader'").fetchone()
        lines = reader_role_sql("reader", database).splitlines()
        for line in lines[1:] if known else lines:
            connection.execute(line)  # type: ignore[arg-type]
        connection.execute(f"ALTER ROLE reader PASSWORD '{READER_PASSWORD}'")  # type: ignore[arg-type]


def compare(statements: Iterable[str], databases: Mapping[str, Database]) -> dict[str, Any]:
    """Of statements that SQLite answers, the share that each of the others answers with the same rows.

    Where rows differ, both are asked again with ties in their order broken; `as_written` is the share without that.
    """
    same: Counter[str] = Counter()
    asked, everywhere, as_written = 0, 0, 0
    others = [name for name in databases if name != "sqlite"]
    apart: list[dict[str, str]] = []
    for sql in statements:
        try:
            wanted = databases["sqlite"].execute_known(sql, **_LIMITS).rows
        except ServingError:
            continue
        asked += 1
        found = {name: _why_not(sql, databases[name], wanted) for name in others}
        as_written += all(why is None for why in found.values())
        if any(why == "other rows" for why in found.values()):
            plain = determinate(sql)
            wanted = databases["sqlite"].execute_known(plain, **_LIMITS).rows
            found = {name: _why_not(plain, databases[name], wanted) for name in others}
        same.update(name for name in others if found[name] is None)
        everywhere += all(why is None for why in found.values())
        apart += [{"database": name, "sql": sql, "why": why} for name, why in found.items() if why]
    return {
        "statements": asked,
        "same_on_all": everywhere / asked if asked else None,
        "same_on_all_as_written": as_written / asked if asked else None,
        **{f"same_on_{name}": same[name] / asked if asked else None for name in others},
        "apart": apart[:_EXAMPLES],
        "apart_by_reason": Counter(_kind(one["why"]) for one in apart).most_common(8),
    }


def determinate(sql: str) -> str:
    """`sql` with what its order leaves open decided by the columns shown."""
    tree = sqlglot.parse_one(sql, dialect="sqlite")
    for query in list(tree.find_all(exp.Query)):
        order = query.args.get("order")
        if isinstance(query, exp.Subquery) or (order is None and query.args.get("limit") is None):
            continue
        ties = [exp.Ordered(this=exp.Literal.number(i + 1)) for i in range(len(query.selects))]
        query.set("order", exp.Order(expressions=[*(order.expressions if order else []), *ties]))
    return tree.sql(dialect="sqlite")


def _why_not(sql: str, database: Database, wanted: Sequence[Sequence[object]]) -> str | None:
    try:
        rows = database.execute(sql, **_LIMITS).rows
    except ServingError as error:
        return f"{error.type}: {error.message}"
    return None if same_answer(wanted, rows, ordered=is_ordered(sql)) else "other rows"


def _kind(why: str) -> str:
    return " ".join(word for word in why.split() if '"' not in word and "'" not in word)[:80]


def _spider(root: Path, folder: Path, server: Cluster) -> dict[str, Any]:
    by_database: dict[str, set[str]] = {}
    for example in read_examples(root / "dev.jsonl"):
        if example.sql:
            by_database.setdefault(example.db_id, set()).add(example.sql)
    parts = []
    for name, statements in by_database.items():
        databases = copies(root / "databases" / f"{name}.sqlite", folder / "spider", server)
        parts.append(compare(sorted(statements), databases))
    asked = sum(part["statements"] for part in parts)
    reasons: Counter[str] = Counter()
    for part in parts:
        reasons.update(dict(part["apart_by_reason"]))
    keys = [key for key in parts[0] if key.startswith("same_on")]
    return {
        "statements": asked,
        **{key: sum((part[key] or 0) * part["statements"] for part in parts) / asked for key in keys},
        "apart": [one for part in parts for one in part["apart"]][: 4 * _EXAMPLES],
        "apart_by_reason": reasons.most_common(12),
    }
