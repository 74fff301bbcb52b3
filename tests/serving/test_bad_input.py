"""Whatever the schema and the question are, an answer that runs or a refusal that says why: by the model that ships."""

import sqlite3
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpus.contents import MAX_VALUES, Contents
from corpus.schema import read_schema
from serving.assembly import load_pipeline
from serving.databases import Database
from serving.errors import ServingError
from serving.pipeline import AskResult, Pipeline
from serving.question import MAX_QUESTION_CHARS, check_question
from serving.settings import load_settings


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return load_pipeline(load_settings())


def make(path: Path, *statements: str) -> Database:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
    return Database(path.stem, path)


def asked(pipeline: Pipeline, question: str, database: Database) -> AskResult:
    """The answer, which runs where it has SQL and says why where it has none."""
    check_question(question)
    (found,) = pipeline.ask([(question, database)])
    assert 0 <= found.confidence <= 1
    if found.sql:
        assert found.error is None
        database.execute(found.sql, max_rows=10, max_bytes=2**20, timeout_s=5.0)
    else:
        assert found.error
        assert found.abstain
    return found


def test_a_database_without_tables_is_refused_clearly(pipeline: Pipeline, tmp_path: Path) -> None:
    found = asked(pipeline, "how many are there?", make(tmp_path / "empty.sqlite", "PRAGMA user_version = 1"))
    assert found.sql == ""
    assert "no table" in (found.error or "")


ODD_NAMES = [
    "select",
    "order by",
    'a"b',
    "it's",
    "größe",
    "数量",
    "имя",
    "a.b",
    "x--y",
    "<c0>",
    "__c1",
    "[x]",
    "`y`",
    " ",
]


def test_odd_names_are_answered(pipeline: Pipeline, tmp_path: Path) -> None:
    quoted = ['"' + name.replace('"', '""') + '"' for name in ODD_NAMES]
    database = make(
        tmp_path / "odd.sqlite",
        f'CREATE TABLE "group" ({", ".join(quoted)})',
        f'INSERT INTO "group" VALUES ({", ".join("?" * len(quoted)).replace("?", chr(39) + "x" + chr(39))})',
        'CREATE TABLE "таблица" ("ключ" INTEGER PRIMARY KEY, "имя" TEXT)',
    )
    for question in (
        "how many groups are there?",
        "show the größe of each group",
        "какое имя в таблица",
        "show 数量",
    ):
        assert asked(pipeline, question, database).sql


def test_names_equal_but_for_case_are_answered(pipeline: Pipeline, tmp_path: Path) -> None:
    database = make(
        tmp_path / "case.sqlite",
        "CREATE TABLE Person (Name TEXT, AGE int)",
        "CREATE TABLE persons (NAME TEXT, age int)",
        "INSERT INTO persons VALUES ('Bob', 3), ('bob', 4), ('BOB', 5)",
    )
    for question in ("what is the age of the person named bob?", "names of PERSONS with Age over 3"):
        assert asked(pipeline, question, database).sql


VALUES = [
    "O'Brien",
    'say "hi"',
    "two\nlines",
    "tab\there",
    "50%",
    "a_b",
    "<c0>",
    "__v1",
    "\\",
    "-- no",
    "💡",
    "; DROP TABLE t",
]


@pytest.mark.parametrize("value", VALUES)
def test_values_with_quotes_newlines_and_signs_are_answered(
    pipeline: Pipeline, tmp_path: Path, value: str
) -> None:
    literal = "'" + value.replace("'", "''") + "'"
    database = make(
        tmp_path / "values.sqlite",
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT)",
        f"INSERT INTO notes (body) VALUES ({literal})",
    )
    assert asked(pipeline, f'what is the id of the note with the body "{value}"?', database).sql


QUESTIONS = [
    "¿Cuántos proveedores hay?",
    "供应商有多少个?",
    "كم عدد الموردين؟",
    "what is the meaning of life?",
    "asdf qwer zxcv",
    "?",
    "<c0> <v3> <sql> <eos>",
    "'; DROP TABLE notes; --",
    "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24",
]


@pytest.mark.parametrize("question", QUESTIONS)
def test_questions_that_make_no_sense_here_are_answered_or_refused(
    pipeline: Pipeline, tmp_path: Path, question: str
) -> None:
    asked(
        pipeline, question, make(tmp_path / "q.sqlite", "CREATE TABLE notes (id int, body text, size real)")
    )


def test_empty_and_enormous_questions_are_refused_clearly(pipeline: Pipeline, tmp_path: Path) -> None:
    database = make(tmp_path / "q.sqlite", "CREATE TABLE notes (id int, body text)")
    for question, why in (("", "empty"), (" \n", "empty"), ("a " * MAX_QUESTION_CHARS, "characters")):
        with pytest.raises(ServingError, match=why):
            asked(pipeline, question, database)
    for question in ("body " * (MAX_QUESTION_CHARS // 5), "字" * MAX_QUESTION_CHARS):
        try:
            asked(pipeline, question, database)
        except ServingError as error:
            assert "tokens" in error.message


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=10)
WORDS = ("how", "many", "show", "the", "of", "each", "more", "than", "3", "or")
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


def schemas() -> st.SearchStrategy[list[tuple[str, list[str], list[list[object]]]]]:
    cells = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), TEXTS)
    table = st.tuples(
        NAMES,
        st.lists(NAMES, min_size=1, max_size=5),
        st.lists(st.lists(cells, min_size=5, max_size=5), max_size=3),
    )
    return st.lists(table, min_size=0, max_size=4)


@settings(
    deadline=None, max_examples=12, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(
    tables=schemas(),
    text=TEXTS,
    words=st.lists(
        st.sampled_from(["how", "many", "show", "the", "of", "each", "more", "than", "3", "or"]), max_size=6
    ),
)
def test_any_schema_and_any_question(
    pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory, tables: list, text: str, words: list[str]
) -> None:
    path = tmp_path_factory.mktemp("any") / "any.sqlite"
    connection = sqlite3.connect(path)
    mentioned = []
    for name, columns, rows in tables:
        quoted = ['"' + one.replace('"', '""') + '"' for one in (name, *columns)]
        try:
            connection.execute(f"CREATE TABLE {quoted[0]} ({', '.join(quoted[1:])})")
        except sqlite3.OperationalError:  # a name that is taken, or SQLite's own
            continue
        mentioned += [name, columns[0]]
        for row in rows:
            connection.execute(
                f"INSERT INTO {quoted[0]} VALUES ({', '.join('?' * len(columns))})", row[: len(columns)]
            )
    connection.commit()
    connection.close()
    question = " ".join([*words, text, *mentioned[:3]])
    try:
        asked(pipeline, question, Database("any", path))
    except ServingError as error:
        assert error.message


@pytest.mark.slow
def test_a_column_with_a_million_values_costs_bounded_memory(pipeline: Pipeline, tmp_path: Path) -> None:
    path = tmp_path / "million.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE parts (id INTEGER PRIMARY KEY, serial TEXT, colour TEXT)")
    connection.executemany(
        "INSERT INTO parts VALUES (?, ?, ?)", ((i, f"serial number {i}", "red") for i in range(1_000_000))
    )
    connection.commit()
    connection.close()
    schema = read_schema(path)
    tracemalloc.start()
    contents = Contents.read(path, schema)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(contents.places) <= MAX_VALUES + 1
    assert peak < 20 * 2**20
    assert asked(pipeline, "how many red parts are there?", Database("million", path)).sql
