"""The registry keeps names across processes, refuses what it cannot read, and sees when a file changes."""

import json
import sqlite3
from pathlib import Path

import pytest

from serving.databases import Database, Databases, describe, summaries
from serving.databases.address import place_of
from serving.errors import BadDatabase, DatabaseUnavailable, StateError, UnknownDatabase


@pytest.fixture
def databases(tmp_path: Path) -> Databases:
    return Databases(tmp_path / "home")


def test_the_demo_is_there_from_the_start_and_has_suppliers(databases: Databases) -> None:
    assert databases.names() == ["demo"]
    assert "suppliers" in [table.name for table in databases.get("demo").schema().tables]
    assert databases.get("demo").execute("SELECT count(*) FROM suppliers").rows[0][0] > 0


def test_what_is_added_is_there_for_the_next_process(databases: Databases, shop: Path) -> None:
    databases.add("shop", str(shop))
    again = Databases(databases.home)
    assert again.names() == ["demo", "shop"]
    assert again.get("shop").path == shop
    again.remove("shop")
    assert databases.names() == ["demo"]
    assert shop.exists()


@pytest.mark.parametrize("name", ["", "a b", "../x", "-x", "x" * 65, "a/b", "é", "a\n"])
def test_a_name_that_would_not_do_in_a_path_is_refused(databases: Databases, shop: Path, name: str) -> None:
    with pytest.raises(BadDatabase):
        databases.add(name, str(shop))


def test_a_taken_name_is_refused(databases: Databases, shop: Path) -> None:
    databases.add("shop", str(shop))
    for name in ("shop", "demo"):
        with pytest.raises(BadDatabase, match="already"):
            databases.add(name, str(shop))


def test_the_demo_cannot_be_removed(databases: Databases) -> None:
    with pytest.raises(BadDatabase, match="built in"):
        databases.remove("demo")


def test_an_unknown_name_is_answered_with_the_known_ones(databases: Databases) -> None:
    with pytest.raises(UnknownDatabase, match="nope") as caught:
        databases.get("nope")
    assert "demo" in caught.value.hint


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://me:secret@host", "no database"),
        ("postgresql://me:secret@host/db?options=-c%20statement_timeout%3D0", "options"),
        ("mysql://me:secret@host/db", "mysql"),
        ("duckdb://", "no file"),
        ("sqlite://", "no file"),
        ("sqlite:///:memory:", "no file"),
        ("sqlite:///x.sqlite?mode=rwc", "no file"),
        ("://", "URL"),
        ("", "empty"),
        ("a\x00b", "NUL"),
    ],
)
def test_an_address_that_is_of_no_known_kind_is_refused(url: str, said: str) -> None:
    with pytest.raises(BadDatabase, match=said) as caught:
        place_of(url)
    assert "secret" not in caught.value.hint
    assert "sqlite:///" in caught.value.hint or "Taken" in caught.value.hint
    assert "secret" not in caught.value.message


def test_a_url_and_a_path_name_the_same_file(shop: Path, tmp_path: Path) -> None:
    by_path = place_of(str(tmp_path / "x.sqlite"))
    assert place_of(f"sqlite:///{tmp_path}/x.sqlite") == by_path
    assert by_path.address == str(tmp_path / "x.sqlite")


def test_what_is_no_database_is_not_registered(databases: Databases, tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a database at all")
    for path in (text, tmp_path, tmp_path / "gone.sqlite"):
        with pytest.raises(DatabaseUnavailable):
            databases.add("x", str(path))
    assert databases.names() == ["demo"]


def test_a_schema_is_read_again_when_its_file_changes(databases: Databases, tmp_path: Path) -> None:
    path = tmp_path / "grows.sqlite"
    writer = sqlite3.connect(path)
    writer.execute("CREATE TABLE first (x TEXT)")
    database = databases.add("grows", str(path))
    before = database.schema()
    assert database.schema() is before
    writer.executescript("CREATE TABLE second (x TEXT); INSERT INTO second VALUES ('Berlin');")
    writer.close()
    assert [table.name for table in database.schema().tables] == ["first", "second"]
    assert database.contents().find("berlin") == {("second", "x"): "Berlin"}


def test_a_database_that_went_away_is_listed_with_why(databases: Databases, tmp_path: Path) -> None:
    path = tmp_path / "goes.sqlite"
    sqlite3.connect(path).execute("CREATE TABLE t (x)").connection.close()
    databases.add("goes", str(path))
    path.unlink()
    line = next(line for line in summaries(databases) if line["name"] == "goes")
    assert line["tables"] == []
    assert "no database file" in line["error"]


def test_a_database_that_sqlite_cannot_read_is_unavailable_and_hides_no_other(
    databases: Databases, shop: Path, tmp_path: Path
) -> None:
    path = tmp_path / "damaged.sqlite"
    writer = sqlite3.connect(path)
    writer.executescript("CREATE TABLE t (x TEXT); INSERT INTO t VALUES ('a');")
    databases.add("damaged", str(path))
    databases.add("shop", str(shop))
    writer.executescript("PRAGMA writable_schema=ON; UPDATE sqlite_master SET sql = 'CREATE TABLE t (';")
    writer.close()
    with pytest.raises(DatabaseUnavailable):
        databases.get("damaged").schema()
    lines = {line["name"]: line for line in summaries(databases)}
    assert lines["damaged"]["error"]
    assert "suppliers" in lines["shop"]["tables"]


def test_contents_that_cannot_be_read_make_a_database_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "cut.sqlite"
    writer = sqlite3.connect(path)
    writer.executescript("CREATE TABLE t (x TEXT);")
    writer.executemany("INSERT INTO t VALUES (?)", [(str(i) * 500,) for i in range(200)])
    writer.commit()
    writer.close()
    raw = path.read_bytes()
    path.write_bytes(raw[:4096] + b"\xff" * (len(raw) - 4096))
    database = Database("cut", path)
    assert [table.name for table in database.schema().tables] == ["t"]
    with pytest.raises(DatabaseUnavailable, match="malformed"):
        database.contents()


def test_a_demo_that_cannot_be_read_hides_no_other(databases: Databases, shop: Path) -> None:
    databases.add("shop", str(shop))
    (databases.home / "demo.sqlite").mkdir()
    lines = {line["name"]: line for line in summaries(databases)}
    assert lines["demo"]["error"]
    assert "suppliers" in lines["shop"]["tables"]


@pytest.mark.parametrize("address", ["x" * 5_000, "sqlite:///" + "x" * 5_000, "/".join(["long"] * 2_000)])
def test_a_very_long_address_is_refused_in_a_short_message(databases: Databases, address: str) -> None:
    with pytest.raises((UnknownDatabase, DatabaseUnavailable)) as caught:
        databases.resolve(address)
    assert len(caught.value.message) < 200


def test_a_home_of_nobody_is_refused() -> None:
    with pytest.raises(BadDatabase, match="not known"):
        place_of("~nobody-of-this-name/x.sqlite")


def test_a_description_names_tables_columns_and_keys(databases: Databases, shop: Path) -> None:
    found = describe(databases.add("shop", str(shop)))
    assert json.loads(json.dumps(found)) == found
    assert [table["name"] for table in found["tables"]] == ["suppliers", "parts", "german"]
    assert found["tables"][0]["columns"][0] == {
        "name": "id",
        "type": "number",
        "declared": None,
        "primary_key": True,
        "comment": None,
        "samples": [],
    }
    assert {"table": "parts", "column": "supplier_id", "ref_table": "suppliers", "ref_column": "id"} in found[
        "foreign_keys"
    ]


@pytest.mark.parametrize("content", ["{", "[]", '{"x": 1}', '"x"'])
def test_a_broken_registry_is_named_and_left_alone(databases: Databases, content: str) -> None:
    databases.home.mkdir()
    file = databases.home / "databases.json"
    file.write_text(content)
    with pytest.raises(StateError, match=r"databases\.json"):
        databases.names()
    assert file.read_text() == content


def test_a_registry_that_cannot_be_written_keeps_what_it_had(databases: Databases, shop: Path) -> None:
    databases.add("shop", str(shop))
    blocked = Databases(databases.home / "databases.json" / "below")
    with pytest.raises(StateError):
        blocked.add("other", str(shop))
    assert databases.names() == ["demo", "shop"]


def test_an_address_can_be_asked_without_registering_it(databases: Databases, shop: Path) -> None:
    assert databases.resolve(str(shop)).name == shop.stem
    assert databases.names() == ["demo"]
    with pytest.raises(UnknownDatabase):
        databases.resolve("nope")
