import hashlib
import sqlite3
from pathlib import Path

import pytest

from corpus.demo import build_demo_database, demo_schema_ddl

LATE_IN_MARCH = """
    SELECT DISTINCT suppliers.name FROM suppliers
    JOIN shipments ON suppliers.id = shipments.supplier_id
    WHERE shipments.delivered_date > shipments.promised_date
    AND strftime('%m', shipments.shipped_date) = '03'"""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> sqlite3.Connection:
    return sqlite3.connect(build_demo_database(tmp_path_factory.mktemp("demo") / "demo.sqlite"))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    first = digest(build_demo_database(tmp_path / "a.sqlite"))
    assert digest(build_demo_database(tmp_path / "b.sqlite")) == first
    assert digest(build_demo_database(tmp_path / "c.sqlite", seed=1)) != first


def test_building_again_replaces_the_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "demo.sqlite"
    path.write_text("not a database")
    build_demo_database(path)
    assert sqlite3.connect(path).execute("SELECT COUNT(*) FROM suppliers").fetchone()[0] == 140
    assert [entry.name for entry in tmp_path.iterdir()] == ["demo.sqlite"]


def test_a_failed_build_leaves_the_old_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = build_demo_database(tmp_path / "demo.sqlite")
    before = digest(path)
    monkeypatch.setattr("corpus.demo._DDL", "CREATE TABLE suppliers (id INTEGER);")
    with pytest.raises(sqlite3.OperationalError):
        build_demo_database(path, seed=1)
    assert digest(path) == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["demo.sqlite"]


def test_it_has_eight_tables_and_at_most_45_columns_with_keys(demo: sqlite3.Connection) -> None:
    fresh = sqlite3.connect(":memory:")
    fresh.executescript(demo_schema_ddl())
    tables = [row[0] for row in fresh.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    columns = {table: fresh.execute(f"PRAGMA table_info({table})").fetchall() for table in tables}
    assert len(tables) == 8
    assert sum(map(len, columns.values())) <= 45
    assert all(any(column[5] for column in members) for members in columns.values())


def test_foreign_keys_hold_and_a_shipment_agrees_with_its_order(demo: sqlite3.Connection) -> None:
    assert demo.execute("PRAGMA foreign_key_check").fetchall() == []
    strays = """SELECT COUNT(*) FROM shipments JOIN orders ON orders.id = shipments.order_id
        WHERE shipments.supplier_id <> orders.supplier_id OR shipments.warehouse_id <> orders.warehouse_id
        OR shipments.shipped_date <= orders.order_date OR orders.status IN ('pending', 'cancelled')"""
    assert demo.execute(strays).fetchone() == (0,)


def test_some_suppliers_but_not_all_shipped_late_in_march(demo: sqlite3.Connection) -> None:
    late = {row[0] for row in demo.execute(LATE_IN_MARCH)}
    assert 5 < len(late) < 70


@pytest.mark.parametrize(
    ("parent", "child"), [("supplier", "orders"), ("part", "order_items"), ("warehouse", "orders")]
)
def test_some_things_have_nothing_hanging_on_them(demo: sqlite3.Connection, parent: str, child: str) -> None:
    sql = f"SELECT COUNT(*) FROM {parent}s WHERE id NOT IN (SELECT {parent}_id FROM {child})"
    assert demo.execute(sql).fetchone()[0] > 0
