"""Real databases for the tests of serving."""

import sqlite3
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small database whose file name needs quoting in a URI."""
    path = tmp_path_factory.mktemp("databases") / "shop ?#%41.sqlite"
    connection = sqlite3.connect(path)
    connection.executescript(
        """
        CREATE TABLE suppliers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, country TEXT, rating REAL);
        CREATE TABLE parts (id INTEGER PRIMARY KEY, supplier_id INTEGER REFERENCES suppliers(id), price REAL, data BLOB);
        CREATE VIEW german AS SELECT * FROM suppliers WHERE country = 'Germany';
        INSERT INTO suppliers VALUES (1, 'Acme', 'Germany', 4.5), (2, 'Bolt', 'France', 3.0), (3, 'Café', 'Germany', NULL);
        INSERT INTO parts VALUES (1, 1, 9.5, x'00ff'), (2, 1, 0.5, NULL), (3, 2, 9e999, NULL);
        """
    )
    connection.close()
    return path
