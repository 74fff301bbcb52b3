"""Questions drawn over any schema: a kind by weight, a draft of that kind, kept where its SQL gives an answer."""

import random
import sqlite3
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from corpus.schema import Schema, connect_read_only
from corpus.spider import Example
from corpus.synthetic import chained, dated, joined, named, single
from corpus.synthetic.facts import Facts, read_facts
from corpus.synthetic.pen import Pen

SECONDS = 0.2
"""Longest that one query may run."""
EMPTY_KEPT = 0.04
"""Share of queries without an answer that are kept: real people ask such, too."""
_TRIES = 12
_KINDS: tuple[tuple[Callable[[Pen], single.Draft], int], ...] = (
    (single.select, 9),
    (single.select_where, 14),
    (single.distinct, 3),
    (single.everything, 1),
    (single.count, 2),
    (single.count_where, 7),
    (single.count_distinct, 3),
    (single.aggregate, 7),
    (single.order, 7),
    (single.extreme, 7),
    (single.top_n, 3),
    (single.group_count, 5),
    (single.group_aggregate, 4),
    (single.having, 4),
    (single.commonest, 5),
    (single.above_average, 4),
    (single.sets, 4),
    (joined.child_where, 12),
    (joined.child_count, 5),
    (joined.child_aggregate, 4),
    (joined.parent_where, 6),
    (joined.children_per_parent, 6),
    (joined.most_children, 8),
    (joined.parents_with_n, 5),
    (joined.no_children, 6),
    (joined.paired, 5),
    (joined.parent_of_extreme, 4),
    (joined.aggregate_per_parent, 4),
    (joined.count_by_attribute, 3),
    (joined.both_children, 3),
    (joined.linked_where, 6),
    (joined.linked_count, 4),
    (named.bare, 10),
    (named.of_named, 6),
    (named.children_of_named, 9),
    (named.of_numbered, 3),
    (named.than_named, 3),
    (named.extreme_of_named, 4),
    (named.most_of, 3),
    (named.lacking, 4),
    (named.flagged, 3),
    (named.superior, 6),
    (chained.ranked, 8),
    (chained.summed, 5),
    (chained.grandchildren, 5),
    (chained.grandparents, 4),
    (chained.revenue, 2),
    (dated.with_dates, 7),
    (dated.per_year, 3),
    (dated.busiest_year, 1),
    (dated.year_of, 1),
)
_WEIGHTS = [weight for _, weight in _KINDS]


def synthetic_questions(
    n: int, seed: int, schema: Schema, path: str | Path | None, db_id: str
) -> list[Example]:
    """Up to `n` different questions with SQL on the database at `path`; fewer where it has little to ask for.

    Without a path, or with empty tables, questions need no values and are not executed. Raises NotADatabase.
    """
    facts = read_facts(schema, path)
    if not facts.entities:
        return []
    rng = random.Random(f"{seed} {db_id}")
    filled = any(entity.rows for entity in facts.entities)
    connection = connect_read_only(path) if path is not None and filled else None
    examples: list[Example] = []
    asked: set[str] = set()
    try:
        for _ in range(n * _TRIES):
            if len(examples) == n:
                break
            drawn = _draw(facts, rng)
            if drawn is None or drawn[1].casefold() in asked:
                continue
            kind, question, sql = drawn
            asked.add(question.casefold())
            answered = connection is None or _answers(connection, sql)
            if answered is None or (not answered and rng.random() >= EMPTY_KEPT):
                continue
            examples.append(Example(f"{db_id}-{seed}-{len(examples)}-{kind}", question, sql, db_id))
    finally:
        if connection is not None:
            connection.close()
    return examples


def _draw(facts: Facts, rng: random.Random) -> tuple[str, str, str] | None:
    """Kind, question, SQL; None where this database has nothing for the kind drawn."""
    kind = rng.choices(_KINDS, _WEIGHTS)[0][0]
    for _ in range(4):  # another table may suit the kind better: joins are rarer than tables
        pen = Pen(facts, rng)
        try:
            words, sql = kind(pen)
        except IndexError:
            continue
        return kind.__name__, pen.finished(words), sql
    return None


def _past(due: float) -> bool:
    return time.monotonic() > due


def _answers(connection: sqlite3.Connection, sql: str) -> bool | None:
    """Whether the query gives more than nothing, a lone NULL or a lone 0; None where it fails, or not in time."""
    connection.set_progress_handler(partial(_past, time.monotonic() + SECONDS), 2_000)
    try:
        rows = connection.execute(sql).fetchmany(2)
    except sqlite3.Error:
        return None
    return bool(rows) and (len(rows) > 1 or any(value not in (None, 0) for value in rows[0]))
