"""Made-up questions: whatever the schema, each has one wording, SQL that runs, and values that the data hold."""

import calendar
import re
import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from corpus.contents import Contents
from corpus.demo import build_demo_database
from corpus.errors import FoldError
from corpus.fold import fold
from corpus.references import ask
from corpus.schema import Schema, read_schema
from corpus.spider import Example
from corpus.synthetic import synthetic_questions
from corpus.synthetic.names import column_phrase, many, one, table_phrase


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_demo_database(tmp_path_factory.mktemp("synthetic") / "demo.sqlite")


@pytest.fixture(scope="module")
def examples(demo: Path) -> list[Example]:
    return synthetic_questions(300, 7, read_schema(demo), demo, "demo")


def test_as_many_as_asked_for_and_no_question_twice(examples: list[Example]) -> None:
    assert len(examples) == 300
    assert len({e.question.casefold() for e in examples}) == 300
    assert len({e.id for e in examples}) == 300


def test_the_same_arguments_draw_the_same(demo: Path, examples: list[Example]) -> None:
    assert synthetic_questions(300, 7, read_schema(demo), demo, "demo") == examples
    assert synthetic_questions(20, 8, read_schema(demo), demo, "demo") != examples[:20]


def test_every_sql_runs(demo: Path, examples: list[Example]) -> None:
    connection = sqlite3.connect(demo)
    for example in examples:
        connection.execute(example.sql or "").fetchmany(1)
    connection.close()


def test_no_wording_is_left_unfilled(examples: list[Example]) -> None:
    for example in examples:
        assert not re.search(r"[{}$|~\ue000-\uf8ff]|  | [?.,]", example.question), example.question


def _without_parts(sql: str) -> str:
    """Without the comparisons of a date's year or month, which stand neither in the data nor, as March, in the question."""
    return re.sub(r"strftime\('[^']*', [^)]*\) = '[^']*'", "", sql)


def test_a_year_or_month_compared_with_stands_in_the_question(examples: list[Example]) -> None:
    found = 0
    for example in examples:
        asked = example.question.casefold()
        for form, text in re.findall(
            r"strftime\('([^']*)', [^)]*\) (?:[<>=]+|BETWEEN) '([^']*)'", example.sql or ""
        ):
            if "%m" in form:
                number = int(text[-2:])
                names = {calendar.month_name[number].casefold(), calendar.month_abbr[number].casefold()}
                assert text in asked or names & set(re.findall(r"[a-z]+", asked)), example
            if "%Y" in form:
                assert text[:4] in asked, example
            found += 1
    assert found


def test_a_person_is_named_by_names_of_one_row(tmp_path: Path) -> None:
    path = tmp_path / "staff.sqlite"
    connection = sqlite3.connect(path)
    connection.execute(
        "CREATE TABLE employee (employee_id INTEGER PRIMARY KEY, first_name TEXT, last_name TEXT, age INTEGER,"
        " reports_to INTEGER REFERENCES employee (employee_id))"
    )
    people = [("Ana", "Costa"), ("Ben", "Hill"), ("Cleo", "Ito"), ("Dan", "Novak")]
    connection.executemany(
        "INSERT INTO employee VALUES (?, ?, ?, ?, ?)",
        [(i, *name, 30 + i, None if i == 0 else 0) for i, name in enumerate(people)],
    )
    connection.commit()
    connection.close()
    named, bosses = 0, 0
    for example in synthetic_questions(120, 3, read_schema(path), path, "staff"):
        sql = example.sql or ""
        both = re.search(r"first_name = '(\w+)' AND (?:T\d\.)?last_name = '(\w+)'", sql)
        if both and " OR " not in sql and example.id.endswith(("of_named", "than_named", "superior")):
            assert both.groups() in people, sql
            named += 1
        bosses += "T1.reports_to = T2.employee_id" in sql
    assert named
    assert bosses


def test_texts_compared_with_stand_in_the_data(demo: Path, examples: list[Example]) -> None:
    contents = Contents.read(demo, read_schema(demo))
    for example in examples:
        for text in re.findall(r"[!=]= '([^']*)'|(?<![!<>])= '([^']*)'", _without_parts(example.sql or "")):
            assert contents.find(text[0] or text[1]), example.sql


def test_what_is_compared_with_stands_in_the_question(examples: list[Example]) -> None:
    for example in examples:
        for value in re.findall(r"(?<![!<>])= '(\w+)'", _without_parts(example.sql or "")):
            assert value.casefold() in example.question.casefold(), example


def test_nearly_all_fold(demo: Path, examples: list[Example]) -> None:
    schema = read_schema(demo)
    contents = Contents.read(demo, schema)
    folded = 0
    for example in examples:
        try:
            fold(example.sql or "", ask(example.question, schema, contents).binding)
        except FoldError:
            continue
        folded += 1
    assert folded >= 0.95 * len(examples)


def test_many_kinds_and_openings(examples: list[Example]) -> None:
    assert len(Counter(e.id.rsplit("-", 1)[1] for e in examples)) >= 20
    assert len(Counter(e.question.split()[0].casefold() for e in examples)) >= 25


def test_awkward_names_are_quoted(database: Path, schema: Schema) -> None:
    connection = sqlite3.connect(database)
    found = synthetic_questions(60, 1, schema, database, "concerts")
    for example in found:
        connection.execute(example.sql or "")
    connection.close()
    assert len(found) == 60


def test_without_a_database_there_are_questions_without_values(schema: Schema) -> None:
    found = synthetic_questions(30, 1, schema, None, "concerts")
    assert len(found) == 30
    assert not any("'" in (e.sql or "") for e in found)


def test_a_schema_without_tables_gives_nothing() -> None:
    assert synthetic_questions(5, 1, Schema(()), None, "nothing") == []


@pytest.mark.parametrize(
    ("name", "table", "said"),
    [
        ("Num_Employees", "department", "number of employees"),
        ("singer_name", "singers", "name"),
        ("fname", "student", "first name"),
        ("Budget_in_Billions", "department", "budget in billions"),
        ("end_min", "time_slot", "end minute"),
    ],
)
def test_columns_are_called_what_people_call_them(name: str, table: str, said: str) -> None:
    assert column_phrase(name, table) == said


def test_nouns_in_both_numbers() -> None:
    words = ["city", "person", "class", "date of birth", "match", "salesman", "course", "box"]
    plurals = ["cities", "people", "classes", "dates of birth", "matches", "salesmen", "courses", "boxes"]
    assert [many(w) for w in words] == plurals
    assert [one(w) for w in plurals] == words
    assert table_phrase("Ref_Document_Types") == "document type"
