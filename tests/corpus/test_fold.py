"""Folding SQL over references and back gives a query with the same rows, whatever the numbering."""

import random
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.compare import is_ordered, same_answer
from corpus.contents import Contents
from corpus.errors import FoldError, UnfoldError
from corpus.fold import fold, grounded, unfold
from corpus.references import ask
from corpus.schema import Schema, read_schema, schema_from_ddl

QUERIES = [
    ("How many singers are there?", "SELECT count(*) FROM singer"),
    ("names of singers from France", "SELECT name FROM singer WHERE country = 'France'"),
    ("names of singers from \"France\"", 'SELECT name FROM singer WHERE country = "France"'),
    ("oldest singer's name", "SELECT name FROM singer ORDER BY age DESC LIMIT 1"),
    ("singers released in 2014 or later", "SELECT name FROM singer WHERE \"release year\" >= '2014'"),
    ("names containing Jo", "SELECT name FROM singer WHERE name LIKE '%Jo%'"),
    ("names starting with Jo", "SELECT name FROM singer WHERE name LIKE 'Jo%'"),
    ("singers between 30 and 45", "SELECT name FROM singer WHERE age BETWEEN 30 AND 45"),
    ("singers of concerts in 2015", "SELECT DISTINCT T1.name FROM singer AS T1 JOIN singer_in_concert AS T2 ON T1.singer_id = "
     "T2.singer_id JOIN concert AS T3 ON T2.concert_id = T3.concert_id WHERE T3.year = 2015"),
    ("number of singers of each concert", "SELECT T2.concert_name, count(*) FROM singer_in_concert AS T1 JOIN concert AS T2 "
     "ON T1.concert_id = T2.concert_id GROUP BY T2.concert_id"),
    ("countries with more than 2 singers", "SELECT country FROM singer GROUP BY country HAVING count(*) > 2"),
    ("singers without a concert", "SELECT name FROM singer WHERE singer_id NOT IN (SELECT singer_id FROM singer_in_concert)"),
    ("older than average", "SELECT name FROM singer WHERE age > (SELECT avg(age) FROM singer)"),
    ("countries of both", "SELECT country FROM singer WHERE age > 40 INTERSECT SELECT country FROM singer WHERE age < 30"),
    ("total age by alias", "SELECT country, sum(age) AS total FROM singer GROUP BY country ORDER BY total DESC"),
    ("concerts held in March", "SELECT concert_name FROM concert WHERE strftime('%m', held) = '03'"),
    ("concerts held in March 2014", "SELECT concert_name FROM concert WHERE strftime('%Y-%m', held) = '2014-03'"),
    ("parents of orders", 'SELECT b."select" FROM "order" AS a JOIN "order" AS b ON a.parent = b.id'),
    ("orders that are groß", 'SELECT "select" FROM "order" WHERE "größe" = \'groß\''),
    ("order named it's", "SELECT id FROM \"order\" WHERE \"select\" = 'it''s'"),
    ("singers and their concerts, also without", "SELECT s.name, c.concert_id FROM singer AS s LEFT JOIN singer_in_concert AS c "
     "ON s.singer_id = c.singer_id"),
    ("concerts held in October or more than 10 of 2015", "SELECT concert_name FROM concert WHERE strftime('%m', held) = '10' "
     "OR concert_id < 10"),
    ("concerts more than 5 days after 2014-03-01",
     "SELECT count(*) FROM concert WHERE julianday(held) - julianday('2014-03-01') > 5"),
    ("all of concert", "SELECT * FROM concert"),
    ("is there any", "SELECT name FROM singer WHERE EXISTS (SELECT * FROM singer_in_concert WHERE "
     "singer_in_concert.singer_id = singer.singer_id)"),
]  # fmt: skip


@pytest.mark.parametrize(("question", "sql"), QUERIES)
@given(seed=st.integers(0, 2**32))
def test_unfold_of_fold_gives_the_same_rows(
    question: str, sql: str, seed: int, database: Path, schema: Schema, contents: Contents
) -> None:
    prompt = ask(question, schema, contents, random.Random(seed))
    text = fold(sql, prompt.binding)
    back = unfold(text, prompt.binding)
    connection = sqlite3.connect(database)
    gold, found = connection.execute(sql).fetchall(), connection.execute(back).fetchall()
    connection.close()
    assert gold, "a query without rows proves nothing"
    assert same_answer(gold, found, ordered=is_ordered(sql)), back


@pytest.mark.parametrize(("question", "sql"), QUERIES)
def test_folding_what_was_unfolded_gives_the_same_text(
    question: str, sql: str, schema: Schema, contents: Contents
) -> None:
    prompt = ask(question, schema, contents)
    text = fold(sql, prompt.binding)
    assert fold(unfold(text, prompt.binding), prompt.binding) == text


def test_from_is_inferred_where_keys_say_it(schema: Schema, contents: Contents) -> None:
    prompt = ask("singers of concerts in 2015", schema, contents)
    assert " from" not in fold(QUERIES[8][1], prompt.binding)


@pytest.mark.parametrize(
    "sql",
    ["DELETE FROM singer", "SELECT", "SELECT nothing FROM singer", "WITH x AS (SELECT 1) SELECT * FROM x",
     "SELECT * FROM (SELECT name FROM singer)", "SELECT s.name FROM singer AS s, concert AS c WHERE s.age > c.year",
     "SELECT s.name FROM singer AS s CROSS JOIN concert", "SELECT name FROM singer NATURAL JOIN singer_in_concert",
     "SELECT a.name FROM singer AS a WHERE a.age > (SELECT avg(b.age) FROM singer AS b WHERE b.country = a.country)", "", "🙂"],
)  # fmt: skip
def test_what_is_not_covered_is_refused(sql: str, schema: Schema, contents: Contents) -> None:
    with pytest.raises(FoldError):
        fold(sql, ask("anything", schema, contents).binding)


PIECES = " select| from| where|<c0>|<c1>|<c99>|<t0>|<t1>|<v0>|<v9>| =| (| )| count| ,| *| '|<%>| like| in| group by"


@given(text=st.text(max_size=40) | st.lists(st.sampled_from(PIECES.split("|")), max_size=14).map("".join))
def test_unfolding_anything_gives_sql_or_unfold_error(text: str, schema: Schema, contents: Contents) -> None:
    binding = ask("singers from France", schema, contents).binding
    try:
        sql = unfold(text, binding)
    except UnfoldError:
        return
    assert "__c" not in sql and "__t" not in sql and "__v" not in sql


@pytest.mark.parametrize(
    "name",
    [
        "order",
        "group",
        "add",
        "check",
        "if",
        "cast",
        "transaction",
        "raise",
        "nothing",
        "to",
        "a b",
        'q"q',
        "1st",
        "größe",
    ],
)
def test_any_column_name_comes_back_quoted_as_sqlite_needs(name: str, tmp_path: Path) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    connection = sqlite3.connect(tmp_path / "names.sqlite")
    connection.execute(f"CREATE TABLE t ({quoted} TEXT)")
    connection.execute("INSERT INTO t VALUES ('x')")
    connection.commit()
    binding = ask("all", read_schema(tmp_path / "names.sqlite"), Contents()).binding
    sql = unfold(" select<c0> where<c0> = 'x'<eos>", binding)
    assert connection.execute(sql).fetchall() == [("x",)]
    connection.close()


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT name FROM singer WHERE country = 'France'", True),
        ("SELECT name FROM singer WHERE name = 'France'", False),
        ("SELECT name FROM singer WHERE country = 'France' AND age > 30", True),
        ("SELECT country FROM singer WHERE age > 30 AND name <> 'France'", False),
        ("SELECT name FROM singer WHERE singer_id NOT IN (SELECT singer_id FROM singer_in_concert)", True),
        ("SELECT name FROM singer WHERE singer_id NOT IN (SELECT concert_id FROM singer_in_concert)", False),
        ("SELECT name FROM singer WHERE name IN (SELECT concert_name FROM concert)", False),
    ],
)
def test_a_value_is_grounded_in_a_column_that_holds_it(
    sql: str, expected: bool, schema: Schema, contents: Contents
) -> None:
    binding = ask("singers from France older than 30", schema, contents).binding
    assert grounded(fold(sql, binding), binding) is expected


def test_a_query_without_from_is_refused(schema: Schema, contents: Contents) -> None:
    prompt = ask("is it?", schema, contents)
    with pytest.raises(FoldError, match="without FROM"):
        fold("SELECT (SELECT count(*) FROM singer) > 3", prompt.binding)


def test_a_join_without_condition_asks_no_column_named_true() -> None:
    ddl = 'CREATE TABLE t ("TRUE" TEXT); CREATE TABLE u (x TEXT)'
    prompt = ask("what is it?", schema_from_ddl(ddl), Contents())
    connection = sqlite3.connect(":memory:")
    connection.executescript(f"{ddl}; INSERT INTO t VALUES ('no'); INSERT INTO u VALUES ('yes')")
    assert connection.execute(unfold(" select<c0> from<t0> join<t1>", prompt.binding)).fetchall() == [("no",)]
    connection.close()
