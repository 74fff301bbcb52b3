"""The questions of an independent author: each has SQL that runs on its database and gives something."""

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from serving.bench.unseen import FOLDER, PARTS, build, questions
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
