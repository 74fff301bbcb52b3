"""Questions written one by one: every file makes a database, and every statement of it is drawn, runs and is in the format."""

import random
import re
from contextlib import closing
from pathlib import Path

import pytest

from corpus.authored import (
    authored_files,
    authored_questions,
    build_authored_database,
    kept_for_calibration,
    read_authored,
)
from corpus.compare import is_ordered, same_answer
from corpus.errors import CorpusError, FoldError
from corpus.fold import fold, unfold
from corpus.references import ask
from corpus.schema import connect_read_only
from corpus.spider import DatabaseFolder

SHOP = """
CREATE TABLE people (id INTEGER PRIMARY KEY, first TEXT, last TEXT, born DATE);
INSERT INTO people VALUES (1, 'Ana', 'Ruiz', '1990-05-01'), (2, 'Bo', 'O''Hara', '1985-02-03'), (3, NULL, 'Li', NULL);
-- questions
when was {people.first} {people.last} born
[tell me] the (birthday|date of birth) of {people.first} {people.last}
= SELECT born FROM people WHERE first = {people.first} AND last = {people.last}

who was born in {people.born:year}
= SELECT first FROM people WHERE strftime('%Y', born) = {people.born:year}

who is neither {people.last} nor {people.last#2}
= SELECT first, last FROM people WHERE last <> {people.last} AND last <> {people.last#2}

the first {2..3} of us
= SELECT last FROM people ORDER BY id LIMIT {2..3}
"""


def shop(folder: Path, text: str = SHOP) -> Path:
    path = folder / "shop.txt"
    path.write_text(text.lstrip(), encoding="utf-8")
    return path


def every_pair_is_sound(file: Path, folder: Path) -> None:
    authored = read_authored(file)
    path = build_authored_database(authored, folder / f"{authored.name}.sqlite")
    schema, contents = DatabaseFolder(folder).read(authored.name)
    drawn = {e.id.rsplit("-", 2)[1]: e for e in authored_questions(authored, path, 6, seed=0)}
    lacking = [b.sql for i, b in enumerate(authored.blocks) if str(i) not in drawn]
    assert not lacking, f"{file.name}: no rows with any values tried"
    with closing(connect_read_only(path)) as connection:
        for example in drawn.values():
            assert example.sql is not None
            prompt = ask(example.question, schema, contents, random.Random(1))
            try:
                back = unfold(fold(example.sql, prompt.binding), prompt.binding)
            except FoldError:
                assert len(list(schema.columns())) > len(prompt.binding.columns), example.sql
                continue
            rows = [connection.execute(sql).fetchall() for sql in (example.sql, back)]
            assert same_answer(*rows, ordered=is_ordered(example.sql)), example.sql


@pytest.mark.parametrize("file", authored_files()[::16], ids=lambda path: path.stem)
def test_every_statement_runs_and_is_in_the_format(file: Path, tmp_path: Path) -> None:
    every_pair_is_sound(file, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("file", authored_files(), ids=lambda path: path.stem)
def test_every_statement_of_every_file_runs_and_is_in_the_format(file: Path, tmp_path: Path) -> None:
    every_pair_is_sound(file, tmp_path)


def test_slots_of_one_table_come_of_one_row_and_are_literals_in_sql(tmp_path: Path) -> None:
    authored = read_authored(shop(tmp_path))
    path = build_authored_database(authored, tmp_path / "shop.sqlite")
    questions = authored_questions(authored, path, 40, seed=3)
    births = [one for one in questions if " born " in one.sql.split("WHERE")[0] and "last =" in one.sql]
    people = {("Ana", "Ruiz"), ("Bo", "O''Hara")}
    found = {re.search(r"first = '(.*)' AND last = '(.*)'", one.sql).groups() for one in births}
    assert found == people
    for one in births:
        first, last = re.search(r"first = '(.*)' AND last = '(.*)'", one.sql).groups()
        assert f"{first} {last}".replace("''", "'").casefold() in one.question.casefold()
    neither = [one.sql for one in questions if "<>" in one.sql]
    assert neither
    assert all(len(set(re.findall(r"<> ('.*?')(?: AND|$)", sql))) == 2 for sql in neither)
    assert {one.sql[-1] for one in questions if "LIMIT" in one.sql} == {"2", "3"}
    assert len({(one.question, one.sql) for one in questions}) == len(questions)


def test_draws_follow_from_the_seed(tmp_path: Path) -> None:
    authored = read_authored(shop(tmp_path))
    path = build_authored_database(authored, tmp_path / "shop.sqlite")
    first, again, other = (authored_questions(authored, path, 5, seed) for seed in (1, 1, 2))
    assert first == again
    assert [one.question for one in first] != [one.question for one in other]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("CREATE TABLE t (a TEXT);\nwho\n= SELECT a FROM t\n", "-- questions"),
        ("CREATE TABLE t (a TEXT);\n-- questions\nwho\nwhat\n", "expected wordings"),
        ("CREATE TABLE t (a TEXT);\n-- questions\n= SELECT a FROM t\n", "expected wordings"),
        ("CREATE TABLE t (a TEXT);\n-- questions\nwho is {t.a}\n= SELECT a FROM t\n", "its SQL lacks"),
        ("CREATE TABLE t (a TEXT);\n-- questions\nwho is {a}\n= SELECT a FROM t\n", "slot of no known form"),
        ("CREATE TABLE t (a TEXT);\n-- questions\nwho\n= SELECT a FROM t WHERE a = {a}\n", "no known form"),
    ],
)
def test_a_file_of_another_form_is_refused_with_the_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(CorpusError, match=re.escape(said)):
        read_authored(shop(tmp_path, text))


def test_sql_that_does_not_run_is_refused(tmp_path: Path) -> None:
    broken = read_authored(shop(tmp_path, "CREATE TABEL t (a);\n-- questions\nwho\n= SELECT a FROM t\n"))
    with pytest.raises(CorpusError, match="cannot be made"):
        build_authored_database(broken, tmp_path / "broken.sqlite")
    wrong = read_authored(shop(tmp_path, "CREATE TABLE t (a);\n-- questions\nwho\n= SELECT b FROM t\n"))
    path = build_authored_database(wrong, tmp_path / "wrong.sqlite")
    with pytest.raises(CorpusError, match="does not run"):
        authored_questions(wrong, path, 1, seed=0)


def test_what_calibration_keeps_depends_on_a_name_alone() -> None:
    names = [path.stem for path in authored_files()]
    kept = [name for name in names if kept_for_calibration(name, 8)]
    assert 0 < len(kept) < len(names) / 4
    assert not any(kept_for_calibration(name, 0) for name in names)
    assert all(kept_for_calibration(name, 1) for name in names)
