"""A small real database with the traps that schemas have: spaces, reserved words, two roads between tables."""

import sqlite3
from pathlib import Path

import pytest

from corpus.contents import Contents
from corpus.schema import Schema, read_schema

DDL = """
CREATE TABLE singer (singer_id INTEGER PRIMARY KEY, name TEXT, country TEXT, age INTEGER, "release year" TEXT);
CREATE TABLE concert (concert_id INTEGER PRIMARY KEY, concert_name TEXT, year INTEGER, held DATE);
CREATE TABLE singer_in_concert (
  concert_id INTEGER REFERENCES concert (concert_id), singer_id INTEGER REFERENCES singer (singer_id), fee REAL);
CREATE TABLE "order" (id INTEGER PRIMARY KEY, "select" TEXT, "größe" TEXT, parent INTEGER REFERENCES "order" (id));
INSERT INTO singer VALUES (1,'Joe Sharp','Netherlands',52,'1992'),(2,'Timbaland','United States',32,'2008'),
  (3,'Rose White','France',41,'2003'),(4,'John Nizinik','France',43,'2014'),(5,'Tribal King','France',25,'2016');
INSERT INTO concert VALUES (1,'Auditions',2014,'2014-03-05'),(2,'Super bootcamp',2015,'2015-04-01'),
  (3,'Home Visits',2015,'2015-05-12');
INSERT INTO singer_in_concert VALUES (1,2,10.5),(1,3,20),(2,3,7.25),(3,5,99),(3,4,3);
INSERT INTO "order" VALUES (1,'a','groß',NULL),(2,'it''s','klein',1);
"""


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "concerts.sqlite"
    connection = sqlite3.connect(path)
    connection.executescript(DDL)
    connection.close()
    return path


@pytest.fixture(scope="session")
def schema(database: Path) -> Schema:
    return read_schema(database)


@pytest.fixture(scope="session")
def contents(database: Path, schema: Schema) -> Contents:
    return Contents.read(database, schema)
