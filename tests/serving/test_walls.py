"""Neither wall lets a statement write, reach outside its file, or run on; what is harmless passes both."""

import hashlib
import sqlite3
from pathlib import Path

import pytest
from hostile import BOMBS, REFUSED
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import BadSql, GuardError, QueryTimeout, ServingError
from serving.execution import compiles, execute
from serving.guard import MAX_SQL_CHARS, check

HARMLESS = (Path(__file__).with_name("harmless.sql")).read_text(encoding="utf-8").splitlines()


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


_WRITES = ("INSERT", "UPDATE", "DELETE", "DROP", "CREATE", "ALTER", "ATTACH", "PRAGMA", "VACUUM")
_TELLS = ("load_extension", "pragma_", "zeroblob", "randomblob")


@pytest.mark.parametrize(
    "sql",
    [one for one in REFUSED if one.startswith(_WRITES) or any(word in one.lower() for word in _TELLS)],
)
def test_the_second_wall_refuses_by_itself(shop: Path, sql: str) -> None:
    with pytest.raises(BadSql):
        execute(shop, sql, timeout_s=0.2)


@pytest.mark.parametrize("sql", BOMBS)
def test_a_bomb_is_stopped(shop: Path, sql: str) -> None:
    check(sql)
    with pytest.raises(BadSql) as caught:
        execute(shop, sql, timeout_s=0.1)
    assert (
        isinstance(caught.value, QueryTimeout)
        or "memory" in str(caught.value)
        or "too big" in str(caught.value)
    )


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


_WORDS = [
    "SELECT",
    "FROM",
    "WHERE",
    "suppliers",
    "name",
    "(",
    ")",
    ",",
    ";",
    "*",
    "1",
    "'x'",
    "WITH",
    "AS",
    "DELETE",
    "UNION",
    "pragma_x",
    "IN",
    "NOT",
    "CASE",
    "WHEN",
    "END",
    "/*",
    "*/",
    "--",
    "newline",
]


@given(st.lists(st.sampled_from(_WORDS), max_size=25))
def test_what_the_guard_passes_is_one_statement_that_reads(words: list[str]) -> None:
    sql = " ".join(words).replace("newline", "\n")
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


def test_a_dialect_without_an_allow_list_is_refused() -> None:
    with pytest.raises(GuardError, match="mysql"):
        check("SELECT 1", dialect="mysql")


def test_the_longest_text_that_is_taken_is_taken() -> None:
    check("SELECT 1" + " " * (MAX_SQL_CHARS - 8))
