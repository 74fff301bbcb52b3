"""A statement answers values that JSON can hold, within its limits; a file that is no database is named."""

import json
import sqlite3
from pathlib import Path

import pytest

from serving.errors import BadSql, DatabaseUnavailable, QueryTimeout
from serving.execution import compiles, execute

ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c"


def test_rows_come_with_their_columns(shop: Path) -> None:
    result = execute(shop, "SELECT id, name AS supplier FROM suppliers ORDER BY id LIMIT 2")
    assert result.columns == ["id", "supplier"]
    assert result.rows == [[1, "Acme"], [2, "Bolt"]]
    assert not result.truncated


def test_every_value_is_one_that_json_can_hold(shop: Path) -> None:
    result = execute(
        shop, "SELECT x'00ff', 9e999, -9e999, 9e999 - 9e999, NULL, 1.5, 9223372036854775807, 'é'"
    )
    assert result.rows == [["00ff", "Infinity", "-Infinity", None, None, 1.5, 9223372036854775807, "é"]]
    assert json.loads(json.dumps(result.rows, allow_nan=False)) == result.rows


def test_text_that_is_not_utf8_is_answered_all_the_same(shop: Path) -> None:
    assert execute(shop, "SELECT CAST(x'41ff42' AS TEXT)").rows == [["A\ufffdB"]]


def test_rows_are_capped(shop: Path) -> None:
    result = execute(shop, ENDLESS, max_rows=7)
    assert result.rows == [[i] for i in range(1, 8)]
    assert result.truncated


def test_exactly_as_many_rows_as_may_be_are_not_called_truncated(shop: Path) -> None:
    assert not execute(shop, "SELECT id FROM suppliers", max_rows=3).truncated


def test_bytes_are_capped(shop: Path) -> None:
    result = execute(shop, "SELECT printf('%1000d', id) FROM suppliers", max_bytes=2_500)
    assert len(result.rows) == 2
    assert result.truncated


def test_a_statement_past_its_time_is_stopped(shop: Path) -> None:
    with pytest.raises(QueryTimeout, match=r"0\.05 s"):
        execute(shop, f"SELECT count(*) FROM ({ENDLESS})", timeout_s=0.05)


def test_an_unknown_column_is_named_but_not_the_file(shop: Path) -> None:
    with pytest.raises(BadSql, match="colour") as caught:
        execute(shop, "SELECT colour FROM suppliers")
    assert str(shop.parent) not in caught.value.message


def test_compiling_reads_no_rows_and_finds_what_does_not_fit(shop: Path) -> None:
    compiles(shop, f"SELECT count(*) FROM ({ENDLESS})")
    with pytest.raises(BadSql, match="no such table"):
        compiles(shop, "SELECT * FROM nowhere")


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "no database file"), (b"", "empty"), (b"hello, I am text" * 99, "not a SQLite database")],
)
def test_what_is_no_database_is_said_to_be_none(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "x.sqlite"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DatabaseUnavailable, match=said) as caught:
        execute(path, "SELECT 1")
    assert str(tmp_path) not in caught.value.message
    assert sorted(tmp_path.iterdir()) == ([path] if content is not None else [])


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable, match="folder"):
        execute(tmp_path, "SELECT 1")


def test_a_damaged_database_is_said_to_be_damaged(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    path.write_bytes(b"SQLite format 3\x00" + b"\x00" * 5000)
    with pytest.raises(DatabaseUnavailable):
        execute(path, "SELECT * FROM sqlite_master")


def test_a_database_that_is_being_written_is_said_to_be_locked(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("CREATE TABLE t (x)")
    writer.execute("BEGIN EXCLUSIVE")
    with pytest.raises(DatabaseUnavailable, match="locked"):
        execute(path, "SELECT * FROM t")
    writer.close()


def test_a_view_cannot_smuggle_in_what_a_statement_may_not(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    owner = sqlite3.connect(path)
    owner.execute("CREATE VIEW trap AS SELECT load_extension('/tmp/evil.so') AS x")
    owner.close()
    with pytest.raises(BadSql):
        execute(path, "SELECT x FROM trap")
