"""Every wrong answer has one kind: the first thing in which its SQL differs from the known SQL, however either is spelled."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import combinations
from pathlib import Path

import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st

from corpus.compare import is_ordered, same_answer
from corpus.error_kinds import ErrorKind, error_kind
from corpus.schema import Schema

JOIN = "singer AS a JOIN singer_in_concert AS b ON a.singer_id = b.singer_id"
WRONG = [
    ("wrong_tables", "SELECT count(*) FROM singer", "SELECT count(*) FROM concert"),
    ("wrong_tables", "SELECT name FROM singer", f"SELECT a.name FROM {JOIN}"),
    ("wrong_tables", f"SELECT a.name FROM {JOIN}",
     "SELECT a.name FROM singer AS a JOIN singer_in_concert AS b ON a.singer_id = b.concert_id"),
    ("wrong_tables", f"SELECT a.name FROM {JOIN}",
     "SELECT a.name FROM singer AS a LEFT JOIN singer_in_concert AS b ON a.singer_id = b.singer_id"),
    ("wrong_tables", 'SELECT b.id FROM "order" AS a JOIN "order" AS b ON a.parent = b.id', 'SELECT id FROM "order"'),
    ("wrong_tables", "SELECT name FROM singer WHERE age > (SELECT avg(age) FROM singer)", "SELECT held FROM concert"),
    ("wrong_nesting", "SELECT name FROM singer WHERE singer_id NOT IN (SELECT singer_id FROM singer_in_concert)",
     "SELECT name FROM singer"),
    ("wrong_nesting", "SELECT name FROM singer WHERE age > (SELECT avg(age) FROM singer)", "SELECT name FROM singer"),
    ("wrong_nesting", "SELECT country FROM singer WHERE age > 40 UNION SELECT country FROM singer WHERE age < 30",
     "SELECT country FROM singer WHERE age > 40 INTERSECT SELECT country FROM singer WHERE age < 30"),
    ("wrong_nesting", "SELECT country FROM singer UNION SELECT name FROM singer",
     "SELECT country FROM singer UNION ALL SELECT name FROM singer"),
    ("wrong_aggregate", "SELECT max(age) FROM singer", "SELECT min(age) FROM singer"),
    ("wrong_aggregate", "SELECT count(*) FROM singer", "SELECT name FROM singer"),
    ("wrong_aggregate", "SELECT count(DISTINCT country) FROM singer", "SELECT count(*) FROM singer"),
    ("wrong_aggregate", "SELECT max(fee) - min(fee) FROM singer_in_concert", "SELECT max(fee) + min(fee) FROM singer_in_concert"),
    ("wrong_columns", "SELECT name FROM singer", "SELECT country FROM singer"),
    ("wrong_columns", "SELECT name, age FROM singer", "SELECT age, name FROM singer"),
    ("wrong_columns", "SELECT name, age FROM singer", "SELECT name FROM singer"),
    ("wrong_columns", "SELECT name, count(*) FROM singer", "SELECT count(*), name FROM singer"),
    ("wrong_columns", "SELECT * FROM concert", "SELECT year FROM concert"),
    ("wrong_columns", "SELECT avg(age) FROM singer", "SELECT avg(singer_id) FROM singer"),
    ("wrong_columns", "SELECT name FROM singer WHERE age > (SELECT avg(age) FROM singer)",
     "SELECT name FROM singer WHERE age > (SELECT avg(singer_id) FROM singer)"),
    ("wrong_condition_column", "SELECT name FROM singer WHERE country = 'France'",
     "SELECT name FROM singer WHERE name = 'France'"),
    ("wrong_condition_column", "SELECT name FROM singer WHERE country = 'France'", "SELECT name FROM singer"),
    ("wrong_condition_column", "SELECT name FROM singer WHERE country = 'France'",
     "SELECT name FROM singer WHERE country = 'France' AND age > 42"),
    ("wrong_operator", "SELECT name FROM singer WHERE age > 41", "SELECT name FROM singer WHERE age >= 41"),
    ("wrong_operator", "SELECT name FROM singer WHERE age > 30 AND age < 45", "SELECT name FROM singer WHERE age > 30"),
    ("wrong_operator", "SELECT name FROM singer WHERE age > 30 AND country = 'France'",
     "SELECT name FROM singer WHERE age > 30 OR country = 'France'"),
    ("wrong_operator", "SELECT name FROM singer WHERE name LIKE '%o%'", "SELECT name FROM singer WHERE name NOT LIKE '%o%'"),
    ("wrong_operator", "SELECT name FROM singer WHERE singer_id IN (SELECT singer_id FROM singer_in_concert)",
     "SELECT name FROM singer WHERE NOT singer_id IN (SELECT singer_id FROM singer_in_concert)"),
    ("wrong_value", "SELECT name FROM singer WHERE country = 'France'", "SELECT name FROM singer WHERE country = 'Germany'"),
    ("wrong_value", "SELECT name FROM singer WHERE country = 'France'", "SELECT name FROM singer WHERE country = 'france'"),
    ("wrong_value", "SELECT name FROM singer WHERE age BETWEEN 30 AND 45", "SELECT name FROM singer WHERE age BETWEEN 30 AND 42"),
    ("wrong_value", "SELECT name FROM singer WHERE country IN ('France', 'Netherlands')",
     "SELECT name FROM singer WHERE country = 'France'"),
    ("wrong_group", "SELECT country, count(*) FROM singer GROUP BY country",
     "SELECT country, count(*) FROM singer GROUP BY name"),
    ("wrong_group", "SELECT country, count(*) FROM singer GROUP BY country", "SELECT country, count(*) FROM singer"),
    ("wrong_group", "SELECT country FROM singer GROUP BY country HAVING count(*) > 1",
     "SELECT country FROM singer GROUP BY country HAVING count(*) > 3"),
    ("wrong_group", "SELECT DISTINCT country FROM singer", "SELECT country FROM singer"),
    ("wrong_order", "SELECT name FROM singer ORDER BY age", "SELECT name FROM singer ORDER BY age DESC"),
    ("wrong_order", "SELECT name FROM singer ORDER BY age LIMIT 1", "SELECT name FROM singer ORDER BY age LIMIT 2"),
    ("wrong_order", "SELECT name FROM singer ORDER BY age LIMIT 1", "SELECT name FROM singer"),
    ("other", "SELECT name FROM singer WHERE age < 50 AND (country = 'France' OR country = 'Netherlands')",
     "SELECT name FROM singer WHERE (age < 50 AND country = 'France') OR country = 'Netherlands'"),
    ("other", "SELECT singer_id FROM singer EXCEPT SELECT singer_id FROM singer_in_concert WHERE concert_id = 2",
     "SELECT singer_id FROM singer_in_concert WHERE concert_id = 2 EXCEPT SELECT singer_id FROM singer"),
]  # fmt: skip
SPELLINGS = [
    ("SELECT name FROM singer WHERE country = 'France'", 'SELECT T1.NAME FROM Singer AS T1 WHERE (T1.country = "France")'),
    ("SELECT name FROM singer WHERE age > 41", "SELECT name FROM singer WHERE 41 < age"),
    ("SELECT name FROM singer WHERE age > 41.0", "SELECT name FROM singer WHERE NOT age <= '41'"),
    ("SELECT name FROM singer WHERE age BETWEEN 30 AND 45", "SELECT name FROM singer WHERE 45 >= age AND age >= 30"),
    ("SELECT name FROM singer WHERE age NOT BETWEEN 30 AND 45", "SELECT name FROM singer WHERE age < 30 OR age > 45"),
    ("SELECT name FROM singer WHERE age IN (25, 32)", "SELECT name FROM singer WHERE age = 32 OR age = 25"),
    ("SELECT name FROM singer WHERE NOT (age = 25 OR age = 32)", "SELECT name FROM singer WHERE age NOT IN (25, 32)"),
    ("SELECT name FROM singer WHERE name NOT LIKE 'J%'", "SELECT name FROM singer WHERE NOT name LIKE 'J%'"),
    ("SELECT name FROM singer WHERE country <> name", "SELECT name FROM singer WHERE name != country"),
    ("SELECT country, count(*) AS n FROM singer GROUP BY 1 ORDER BY n DESC, 1",
     "SELECT country, count(singer_id) FROM singer GROUP BY country ORDER BY count(*) DESC, singer.country ASC"),
    (f"SELECT a.singer_id, b.fee FROM {JOIN} WHERE fee > 5",
     "SELECT T2.singer_id, T2.fee FROM singer_in_concert T2 JOIN singer AS T1 ON T1.singer_id = T2.singer_id WHERE 5 < T2.fee"),
    (f"SELECT a.name FROM {JOIN}", "SELECT a.name FROM singer AS a, singer_in_concert AS b WHERE b.singer_id = a.singer_id"),
    (f"SELECT a.name FROM {JOIN}", "SELECT name FROM singer JOIN singer_in_concert USING (singer_id)"),
    ("SELECT name FROM singer WHERE singer_id IN (SELECT singer_id FROM singer_in_concert AS s WHERE s.fee > 5)",
     "SELECT name FROM singer WHERE singer_id IN (SELECT singer_in_concert.singer_id FROM singer_in_concert WHERE fee > 5)"),
    ("SELECT d.country FROM (SELECT country FROM singer) AS d", "SELECT e.country FROM (SELECT country FROM singer) AS e"),
    ("SELECT country FROM singer UNION SELECT name FROM singer ORDER BY country LIMIT 3",
     "SELECT country FROM singer UNION SELECT name FROM singer ORDER BY 1 ASC LIMIT 3"),
]  # fmt: skip
QUERIES = sorted({sql for _, *pair in WRONG for sql in pair} | {sql for pair in SPELLINGS for sql in pair})


@pytest.fixture(scope="module")
def connection(database: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(database)) as opened:
        yield opened


@pytest.mark.parametrize(("kind", "known", "predicted"), WRONG)
def test_a_wrong_answer_has_the_kind_of_its_first_difference(
    kind: str, known: str, predicted: str, schema: Schema, connection: sqlite3.Connection
) -> None:
    gold, rows = (connection.execute(sql).fetchall() for sql in (known, predicted))
    assert not same_answer(gold, rows, ordered=is_ordered(known))
    assert error_kind(known, predicted, schema) == kind
    assert error_kind(predicted, known, schema) == kind


@pytest.mark.parametrize(("one", "other"), SPELLINGS)
def test_two_spellings_of_a_query_do_not_differ(
    one: str, other: str, schema: Schema, connection: sqlite3.Connection
) -> None:
    gold, rows = (connection.execute(sql).fetchall() for sql in (one, other))
    assert same_answer(gold, rows, ordered=is_ordered(one))
    assert error_kind(one, other, schema) == "other"


@pytest.mark.parametrize("sql", QUERIES)
def test_a_query_written_otherwise_by_sqlglot_does_not_differ_from_itself(sql: str, schema: Schema) -> None:
    written = sqlglot.parse_one(sql, dialect="sqlite").sql(dialect="sqlite", pretty=True)
    assert error_kind(sql, written, schema) == "other"


def test_of_any_two_queries_the_kind_is_the_same_both_ways(schema: Schema) -> None:
    for one, other in combinations(QUERIES, 2):
        assert error_kind(one, other, schema) == error_kind(other, one, schema)


@given(st.sampled_from(QUERIES), st.sampled_from(["", "  "]), st.booleans(), st.booleans())
def test_what_did_not_run_is_told_before_any_tree(
    known: str, predicted: str, runs: bool, known_runs: bool
) -> None:
    nothing = Schema(())
    assert error_kind(known, predicted, nothing, runs=runs, known_runs=known_runs) == "no_sql"
    assert error_kind(known, "SELECT 1", nothing, runs=runs, known_runs=False) == "known_sql_fails"
    assert error_kind(known, "SELECT 1", nothing, runs=False) == "does_not_run"


@given(st.sampled_from(QUERIES), st.text(max_size=60))
def test_no_text_is_without_a_kind(known: str, text: str) -> None:
    for predicted in (text, f"SELECT {text}", f"{known} {text}"):
        assert error_kind(known, predicted, Schema(())) in ErrorKind


def test_deep_nesting_is_no_error_of_ours(schema: Schema) -> None:
    deep = "SELECT " + "(" * 5_000 + "1" + ")" * 5_000
    assert error_kind("SELECT 1", deep, schema) == "other"
