"""Neither wall lets a statement write, reach outside its file, or run on; and what is harmless passes both."""

import hashlib
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import BadSql, GuardError, QueryTimeout, ServingError
from serving.execution import compiles, execute
from serving.guard import MAX_SQL_CHARS, check
from hostile import BOMBS, REFUSED

HARMLESS = """
SELECT * FROM suppliers
SELECT name, rating FROM suppliers WHERE country = 'Germany' ORDER BY rating DESC NULLS LAST LIMIT 1 OFFSET 0
SELECT count(*), count(DISTINCT country), avg(rating), sum(rating), min(name), max(name), total(rating) FROM suppliers
SELECT country, group_concat(name, ', ') FROM suppliers GROUP BY country HAVING count(*) > 1
SELECT s.name FROM suppliers AS s LEFT JOIN parts p ON p.supplier_id = s.id WHERE p.id IS NULL
SELECT name FROM suppliers NATURAL JOIN german
SELECT suppliers.name FROM suppliers JOIN parts USING (id) CROSS JOIN german g
SELECT name FROM suppliers WHERE id IN (SELECT supplier_id FROM parts WHERE price > 1)
SELECT name FROM suppliers s WHERE EXISTS (SELECT 1 FROM parts WHERE supplier_id = s.id) AND NOT name LIKE '%x' ESCAPE '!'
SELECT name FROM suppliers UNION SELECT country FROM suppliers EXCEPT SELECT 'x' INTERSECT SELECT 'y'
WITH big AS (SELECT * FROM parts WHERE price > 1), n AS (SELECT count(*) AS k FROM big) SELECT k FROM n
WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 5) SELECT x FROM c
SELECT row_number() OVER (PARTITION BY country ORDER BY rating), rank() OVER w, lag(name, 1, '') OVER w FROM suppliers WINDOW w AS (ORDER BY id)
SELECT sum(price) FILTER (WHERE id > 1) FROM parts
SELECT sum(rating) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM suppliers
SELECT dense_rank() OVER w, ntile(2) OVER w, first_value(name) OVER w, percent_rank() OVER w FROM suppliers WINDOW w AS (ORDER BY id)
SELECT CASE country WHEN 'France' THEN 1 ELSE 0 END, iif(rating > 4, 'a', 'b'), coalesce(rating, 0), ifnull(rating, 1), nullif(id, 1) FROM suppliers
SELECT CAST(rating AS INTEGER), CAST(id AS VARCHAR(10)), round(rating, 1), abs(-id), id % 2, id / 2, -id, ~id, id << 1, id | 1, id & 1 FROM suppliers
SELECT upper(name) || lower(country), length(name), substr(name, 1, 2), trim(name), ltrim(name), rtrim(name), replace(name, 'a', 'b'), instr(name, 'c') FROM suppliers
SELECT date('now', '-1 day'), datetime('2020-01-01'), time('12:00'), strftime('%Y', '2020-01-01'), julianday('now'), unixepoch('now'), current_date, current_timestamp
SELECT hex(data), quote(data), typeof(data), x'0aff', 0x10, 1e3, TRUE, NULL FROM parts
SELECT printf('%05d', 7), format('%s', 'x'), char(65), unicode('A'), random() IS NOT NULL, max(1, 2), min(1, 2), sign(-2), soundex('x')
SELECT sqrt(4), pow(2, 3), power(2, 3), exp(1), ln(2), log(10), log2(8), ceil(1.2), floor(1.8), mod(5, 3), pi(), sin(0), radians(180), trunc(1.5)
SELECT json_extract('{"a": [1]}', '$.a[0]'), '{"a": 1}' -> '$.a', '{"a": 1}' ->> '$.a', json_array(1, 2), json_valid('x')
SELECT value FROM json_each('[1, 2]')
SELECT name FROM suppliers WHERE name GLOB 'A*' OR name = 'café' COLLATE NOCASE OR rating BETWEEN 1 AND 2 OR rating ISNULL OR rating NOTNULL
SELECT * FROM (SELECT name AS "the name" FROM [suppliers]) AS `x`
SELECT * FROM main.suppliers AS s, (VALUES (1, 2), (3, 4)) AS v
SELECT name FROM sqlite_master WHERE type = 'table'
SELECT rowid, * FROM suppliers -- with a comment; and a semicolon
/* first */ SELECT 'DELETE FROM suppliers; PRAGMA x' AS text;
SELECT 1 ; -- after the end
SELECT id IS NOT 2, id IS DISTINCT FROM 2, (id, name) = (1, 'Acme') FROM suppliers
""".strip().splitlines()


@pytest.fixture(autouse=True)
def unchanged(shop: Path):
    """Whatever a test does, the folder holds the same files with the same bytes afterwards."""
    before = _digests(shop.parent)
    yield
    assert _digests(shop.parent) == before


def _digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("sql", REFUSED)
def test_the_guard_refuses(sql: str) -> None:
    with pytest.raises(GuardError) as caught:
        check(sql)
    assert caught.value.message
    assert 400 <= caught.value.status < 500


@pytest.mark.parametrize("sql", REFUSED)
def test_the_database_stays_whole_when_the_guard_is_not_asked(shop: Path, sql: str) -> None:
    try:
        execute(shop, sql, timeout_s=0.2)
    except ServingError as error:
        assert str(shop) not in error.message


def test_there_are_enough_hostile_statements() -> None:
    assert len(set(REFUSED)) >= 80


@pytest.mark.parametrize(
    "sql",
    [
        statement
        for statement in REFUSED
        if statement.upper().startswith(("INSERT", "UPDATE", "DELETE", "DROP", "CREATE", "ALTER", "ATTACH", "PRAGMA", "VACUUM"))
        or "load_extension" in statement.lower()
        or "pragma_" in statement.lower()
    ],
)  # fmt: skip
def test_the_second_wall_refuses_by_itself(shop: Path, sql: str) -> None:
    with pytest.raises(BadSql):
        execute(shop, sql, timeout_s=0.2)


@pytest.mark.parametrize("sql", BOMBS)
def test_a_bomb_is_stopped(shop: Path, sql: str) -> None:
    check(sql)
    with pytest.raises(BadSql) as caught:
        execute(shop, sql, timeout_s=0.1)
    assert isinstance(caught.value, QueryTimeout) or "memory" in str(caught.value) or "too big" in str(caught.value)


@pytest.mark.parametrize("sql", HARMLESS)
def test_what_is_harmless_passes_both_walls(shop: Path, sql: str) -> None:
    check(sql)
    expected = sqlite3.connect(shop).execute(sql)
    result = execute(shop, sql)
    assert result.columns == [column[0] for column in expected.description]
    assert len(result.rows) == len(expected.fetchall())
    compiles(shop, sql)


@given(st.text(max_size=200))
def test_the_guard_answers_any_text_with_a_tree_or_a_guard_error(sql: str) -> None:
    try:
        assert check(sql) is not None
    except GuardError as error:
        assert error.message


_WORDS = "SELECT FROM WHERE suppliers name ( ) , ; * 1 'x' WITH AS DELETE UNION pragma_x IN NOT CASE WHEN END /* */ -- \n".split(" ")


@given(st.lists(st.sampled_from(_WORDS), max_size=25))
def test_what_the_guard_passes_is_one_statement_that_reads(words: list[str]) -> None:
    sql = " ".join(words)
    try:
        check(sql)
    except GuardError:
        return
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE suppliers (name)")
    connection.execute("PRAGMA query_only = ON")
    try:
        connection.execute(sql)
    except sqlite3.Warning as error:  # "You can only execute one statement at a time."
        pytest.fail(f"{sql!r}: {error}")
    except sqlite3.Error as error:
        assert "readonly" not in str(error)
    finally:
        connection.close()


def test_only_sqlite_has_an_allow_list() -> None:
    with pytest.raises(GuardError, match="postgres"):
        check("SELECT 1", dialect="postgres")


def test_the_longest_text_that_is_taken_is_taken() -> None:
    check("SELECT 1" + " " * (MAX_SQL_CHARS - 8))
