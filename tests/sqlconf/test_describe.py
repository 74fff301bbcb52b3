"""SQL in, words out. The table is `descriptions.txt`: a line of SQL, then its English, indented."""

from pathlib import Path

import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st

from sqlconf.describe import describe
from sqlconf.naming import humanise, listed, plural, singular

BLOCKS = (Path(__file__).parent / "descriptions.txt").read_text().strip().split("\n\n")
TABLE = [tuple(line.strip() for line in block.split("\n")) for block in BLOCKS]


@pytest.mark.parametrize(("sql", "words"), TABLE, ids=[sql for sql, _ in TABLE])
def test_sql_reads_as_english(sql: str, words: str) -> None:
    assert describe(sql) == words


@pytest.mark.parametrize(
    "sql", ["", "  ", ";", "-- nothing", "SELECT (", "SELECT name FROM", "how many singers", "'"]
)
def test_what_does_not_parse_has_no_words(sql: str) -> None:
    assert describe(sql) is None


def test_the_schema_lends_spelling_types_and_keys(supply) -> None:
    assert describe("SELECT foundedin FROM SUPPLIERS", supply) == "the founded in of suppliers"
    newest = "SELECT name FROM suppliers ORDER BY foundedIn DESC LIMIT 1"
    assert describe(newest, supply) == "the name of suppliers, with the latest founded in"
    by_name = "SELECT id FROM suppliers ORDER BY name"
    assert describe(by_name, supply) == "the id of suppliers, with the alphabetically first name first"
    for join in ("suppliers AS s JOIN orders AS o", "orders AS o JOIN suppliers AS s"):
        sql = f"SELECT count(*) FROM {join} ON o.supplier_id = s.id"
        assert describe(sql, supply).startswith("the number of orders"), "a row of the join is an order"


def test_a_quoted_name_of_no_column_is_a_text_and_one_of_a_column_is_not(supply) -> None:
    assert describe('SELECT id FROM suppliers WHERE name = "Acme Ltd"', supply).endswith("name is Acme Ltd")
    assert describe('SELECT id FROM suppliers WHERE name = "foundedIn"', supply).endswith("is the founded in")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("name LIKE 'a%'", "name NOT LIKE 'a%'"),
        ("id IN (1, 2)", "id NOT IN (1, 2)"),
        ("id BETWEEN 1 AND 2", "id NOT BETWEEN 1 AND 2"),
        ("name IS NULL", "name IS NOT NULL"),
        ("EXISTS (SELECT 1 FROM b)", "NOT EXISTS (SELECT 1 FROM b)"),
        ("id IN (SELECT id FROM b)", "id NOT IN (SELECT id FROM b)"),
        ("name GLOB 'a'", "name NOT GLOB 'a'"),
        ("id > 1", "NOT id > 1"),
        ("id = 1 AND name = 'a'", "id = 1 OR name = 'a'"),
        ("id = 1 AND name = 'a'", "NOT (id = 1 AND name = 'a')"),
    ],
)
def test_opposite_conditions_never_read_the_same(one: str, other: str) -> None:
    assert describe(f"SELECT x FROM t WHERE {one}") != describe(f"SELECT x FROM t WHERE {other}")


def test_two_negations_cancel() -> None:
    assert describe("SELECT x FROM t WHERE NOT (name NOT LIKE 'a%')") == describe(
        "SELECT x FROM t WHERE name LIKE 'a%'"
    )


def test_a_query_too_deep_to_walk_is_still_described_or_refused() -> None:
    for depth in (50, 200, 1000, 5000):
        deep = "SELECT x FROM t WHERE " + "NOT (" * depth + "x = 1" + ")" * depth
        assert describe(deep) is None or "x" in describe(deep)
        long = "SELECT x FROM t WHERE " + " OR ".join(f"x = {i}" for i in range(depth))
        assert describe(long) is None or "x" in describe(long)


NAMES = st.sampled_from(["a", "shipDate", "order_qty", "T1.name", '"Odd Name"', "t.*", "año", "_", "x1"])
LITERALS = st.sampled_from(
    ["1", "-2.5", "'Germany'", "''", "NULL", "'%x%'", "TRUE", "x'00'", "?", ":p", "date('now')"]
)
VALUES = st.recursive(
    NAMES | LITERALS,
    lambda inner: st.one_of(
        st.tuples(
            st.sampled_from(["count", "max", "sum", "strftime", "coalesce", "nonsense", "round", "extract"]),
            inner,
        ).map(lambda call: f"{call[0]}({call[1]})"),
        st.tuples(inner, st.sampled_from(["+", "||", "/", "%", "->>", "&"]), inner).map(" ".join),
        inner.map(lambda v: f"CAST({v} AS TEXT)"),
        inner.map(lambda v: f"count(DISTINCT {v})"),
        inner.map(lambda v: f"CASE WHEN {v} THEN 1 ELSE {v} END"),
        inner.map(lambda v: f"CASE {v} WHEN 1 THEN 2 END"),
        inner.map(lambda v: f"row_number() OVER (PARTITION BY {v} ORDER BY {v})"),
        inner.map(lambda v: f"(SELECT {v} FROM t)"),
        inner.map(lambda v: f"count(*) FILTER (WHERE {v})"),
        inner.map(lambda v: f"EXTRACT(YEAR FROM {v})"),
        inner.map(lambda v: f"({v}, {v})"),
        inner.map(lambda v: f"INTERVAL {v} DAY"),
    ),
    max_leaves=4,
)
CONDITIONS = st.recursive(
    st.one_of(
        VALUES,
        st.tuples(
            VALUES, st.sampled_from(["=", "<>", "<=", "LIKE", "NOT LIKE", "IS", "IS NOT", "GLOB"]), VALUES
        ).map(" ".join),
        VALUES.map(lambda v: f"{v} NOT BETWEEN {v} AND {v}"),
        VALUES.map(lambda v: f"{v} IN ()"),
        VALUES.map(lambda v: f"{v} IN ({v}, {v})"),
        VALUES.map(lambda v: f"{v} NOT IN (SELECT {v} FROM t)"),
        VALUES.map(lambda v: f"{v} IN t"),
        VALUES.map(lambda v: f"{v} > ALL (SELECT {v} FROM t)"),
        VALUES.map(lambda v: f"EXISTS (SELECT {v})"),
        VALUES.map(lambda v: f"{v} LIKE 'a' ESCAPE 'b'"),
    ),
    lambda inner: st.one_of(
        inner.map(lambda c: f"NOT ({c})"),
        st.tuples(inner, st.sampled_from(["AND", "OR"]), inner).map(" ".join),
    ),
    max_leaves=3,
)
SOURCES = st.sampled_from(
    [
        "", " FROM t", " FROM a, b", " FROM a AS T1 LEFT JOIN b AS T2 ON T1.id = T2.id", " FROM a JOIN b USING (id)",
        " FROM (SELECT 1 AS a) AS T1", " FROM (VALUES (1)) AS v", " FROM f(1)", " FROM s.t", " FROM a NATURAL JOIN b",
        " FROM (a JOIN b ON a.id = b.id)", " FROM UNNEST(x)", " FROM t, LATERAL (SELECT 1) AS u",
    ]
)  # fmt: skip
TAILS = st.sampled_from(
    [
        "", " GROUP BY a", " GROUP BY 1, 2", " GROUP BY ROLLUP (a)", " GROUP BY ALL", " ORDER BY a", " ORDER BY 1 DESC",
        " ORDER BY count(*) LIMIT 1", " LIMIT 3 OFFSET 2", " LIMIT ALL", " FETCH FIRST 2 ROWS ONLY", " LIMIT (SELECT 1)",
        " GROUP BY a HAVING count(*) > 1 AND max(b) < 2", " GROUP BY a HAVING NOT count(*) = 2", " ORDER BY ALL",
        " UNION ALL SELECT 1", " INTERSECT SELECT a FROM b ORDER BY 1 LIMIT 2", " WINDOW w AS (PARTITION BY a)",
    ]
)  # fmt: skip
HEADS = st.sampled_from(
    ["SELECT ", "SELECT DISTINCT ", "WITH t AS (SELECT 1) SELECT ", "SELECT DISTINCT ON (a) ", ""]
)


@given(HEADS, st.lists(VALUES, max_size=3), SOURCES, st.none() | CONDITIONS, TAILS)
@pytest.mark.parametrize("dialect", ["sqlite", "postgres", "duckdb"])
def test_whatever_sqlglot_parses_has_words(dialect, head, items, source, where, tail) -> None:
    sql = head + ", ".join(items) + source + (f" WHERE {where}" if where else "") + tail
    try:
        parsed = any(tree is not None for tree in sqlglot.parse(sql, read=dialect))
    except sqlglot.errors.SqlglotError:
        parsed = False
    words = describe(sql, dialect=dialect)
    assert (words is not None) == parsed
    assert words is None or words.strip()


@given(st.text(max_size=60))
def test_any_text_at_all_is_described_or_refused(text: str) -> None:
    assert describe(text) is None or isinstance(describe(text), str)


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t VALUES (1)",
        "UPDATE t SET a = 1",
        "DELETE FROM t",
        "CREATE TABLE t (a INT)",
        "ATTACH 'x' AS y",
    ],
)
def test_statements_that_are_no_query_are_named_not_refused(sql: str) -> None:
    assert describe(sql)


def test_identifiers_become_words() -> None:
    names = {"shipDate": "ship date", "order_qty": "order quantity", "HTTPServer2": "http server 2", "_": "_"}
    assert {name: humanise(name) for name in names} == names


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("country", "countries"),
        ("box", "boxes"),
        ("day", "days"),
        ("person", "people"),
        ("ship class", "ship classes"),
    ],
)
def test_nouns_have_two_numbers(one: str, many: str) -> None:
    assert (plural(one), plural(many)) == (many, many)
    assert (singular(many), singular(one)) == (one, one)


def test_lists_read_as_lists() -> None:
    assert [listed(list("abc"[:n])) for n in range(4)] == ["", "a", "a and b", "a, b and c"]
