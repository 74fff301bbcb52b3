"""Databases made up from the outline: different, whole, and worth asking."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from corpus.errors import CorpusError
from corpus.fold import fold
from corpus.invented import domains, invent_database
from corpus.invented.outline import parse
from corpus.mixture import training_texts
from corpus.references import ask
from corpus.schema import Schema, read_schema
from corpus.spider import DatabaseFolder
from corpus.synthetic import synthetic_questions


def _invented(folder: Path, seeds: range) -> list[tuple[Path, Schema]]:
    paths = [folder / f"{seed}.sqlite" for seed in seeds]
    for seed, path in zip(seeds, paths, strict=True):
        invent_database(path, seed)
    return [(path, read_schema(path)) for path in paths]


def test_the_outline_has_many_domains_each_of_tables_that_keys_connect() -> None:
    assert len(domains()) >= 80
    for domain in domains():
        linked = {k for i, table in enumerate(domain.tables) for j in table.parents for k in (i, j)}
        assert len(domain.tables) >= 3 and len(linked) >= 2, domain.name


@pytest.mark.parametrize(
    "line", ["a table without columns", "[x]\na: >nothing", "[x]\na: no kind", "[x]\na: b="]
)
def test_an_outline_that_is_none_is_refused_with_its_line(line: str) -> None:
    with pytest.raises(CorpusError, match="line"):
        parse(line)


def test_the_same_seed_gives_the_same_database_and_others_give_others(tmp_path: Path) -> None:
    def dump(path: Path) -> str:
        with closing(sqlite3.connect(path)) as connection:
            return "\n".join(connection.iterdump())

    (first, _), (second, _) = _invented(tmp_path, range(2))
    invent_database(tmp_path / "again.sqlite", 0)
    assert dump(first) == dump(tmp_path / "again.sqlite") != dump(second)


def test_every_database_is_connected_with_keys_that_hold(tmp_path: Path) -> None:
    for path, schema in _invented(tmp_path, range(40)):
        assert len(schema.tables) >= 2
        assert all(len(table.columns) >= 1 for table in schema.tables)
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
            for table in schema.tables:
                (rows,) = connection.execute(f'SELECT count(*) FROM "{table.name}"').fetchone()
                assert rows >= 6


def test_questions_on_them_fold_into_the_format(tmp_path: Path) -> None:
    databases = DatabaseFolder(tmp_path)
    for path, schema in _invented(tmp_path, range(6)):
        questions = synthetic_questions(20, 0, schema, path, path.stem)
        assert len(questions) >= 15
        for example in questions:
            prompt = ask(example.question, *databases.read(example.db_id))
            assert fold(example.sql or "", prompt.binding)


def test_training_draws_from_as_many_of_them_as_it_is_told() -> None:
    pairs = list(
        training_texts({"invented": 40, "invented_databases": 4, "tell": 0.0, "verify": 0.0}, seed=1)
    )
    assert 30 <= len(pairs) <= 40
    assert len({pair.shared for pair in pairs}) == 4
    with pytest.raises(CorpusError, match="invented_databases is 0"):
        list(training_texts({"invented": 1, "invented_databases": 0}, 0))
