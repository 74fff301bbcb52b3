"""The questions of an independent author: each has SQL that runs on its database and gives something."""

import re
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from corpus.authored import authored_files, build_authored_database, read_authored
from corpus.schema import read_schema
from corpus.spider import read_examples
from serving.bench.unseen import FOLDER, PARTS, SEEN, build, questions
from serving.settings import load_settings


@pytest.mark.parametrize("part", PARTS)
def test_every_known_sql_runs_and_gives_something(part: str, tmp_path: Path) -> None:
    asked = list(questions(part))
    assert len({one["id"] for one in asked}) == len(asked)
    assert {one["hardness"] for one in asked} <= {"easy", "medium", "hard", "rough"}
    here = {name for name in {one["db_id"] for one in asked} if build(name, tmp_path, load_settings().data)}
    if not here:
        pytest.skip("its databases are among the data sets: SURESQL_DATA says where")
    for name in here:
        with closing(sqlite3.connect(tmp_path / f"{name}.sqlite")) as connection:
            for one in asked:
                if one["db_id"] == name:
                    assert connection.execute(one["sql"]).fetchall(), one


def test_no_question_of_a_test_is_one_that_was_read() -> None:
    development, test = (Counter(one["question"].casefold() for one in questions(part)) for part in PARTS)
    assert not development.keys() & test.keys()


def test_the_databases_written_here_have_questions() -> None:
    asked = {one["db_id"] for part in PARTS for one in questions(part)}
    assert {script.stem for script in FOLDER.glob("*.sql")} <= asked


def test_no_unseen_database_is_one_of_spiders_training_part(tmp_path: Path) -> None:
    data = load_settings().data
    if data is None or not (data / "spider" / "databases").is_dir():
        pytest.skip("SURESQL_DATA names no folder with Spider's databases")
    trained = {one.db_id for one in read_examples(data / "spider" / "train.jsonl")}
    theirs = [_places(data / "spider" / "databases" / f"{name}.sqlite") for name in sorted(trained)]
    for name in {one["db_id"] for part in PARTS for one in questions(part)}:
        assert build(name, tmp_path, data)
        own = _places(tmp_path / f"{name}.sqlite")
        most = max(len(own & other) / len(own) for other in theirs)
        assert (most > 0.5) == (name in SEEN), (name, most)


def test_nothing_authored_for_training_is_like_what_is_unseen(tmp_path: Path) -> None:
    """Neither its databases nor, but for what anybody asks of any customers, its questions word for word."""
    every = [read_authored(file) for file in authored_files()]
    written = [_places(build_authored_database(one, tmp_path / f"{one.name}.sqlite")) for one in every]
    here = {name for part in PARTS for name in {one["db_id"] for one in questions(part)}}
    for name in here:
        if build(name, tmp_path, load_settings().data):
            own = _places(tmp_path / f"{name}.sqlite")
            assert max(len(own & other) / len(own) for other in written) < 0.2, name
    worded = {_plain(words) for one in every for block in one.blocks for words in block.wordings}
    asked = {_plain(one["question"]) for part in PARTS for one in questions(part)}
    assert len(worded & asked) < len(asked) / 100


def _plain(words: str) -> str:
    return " ".join(re.findall(r"\w+", words.casefold()))


def _places(path: Path) -> set[tuple[str, str]]:
    """Tables and columns, whatever their spelling."""
    return {
        (re.sub(r"[^a-z0-9]", "", table.name.casefold()), re.sub(r"[^a-z0-9]", "", column.name.casefold()))
        for table in read_schema(path).tables
        if not table.view
        for column in table.columns
    }
