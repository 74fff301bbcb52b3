"""Of a large schema the prompt has the part that the question is about; a small one it has whole, as before."""

import sqlite3
from pathlib import Path

from corpus.contents import Contents
from corpus.distractors import put_among
from corpus.references import MAX_COLUMNS, MAX_TABLES, ask
from corpus.relevance import relevant
from corpus.schema import Schema, Table, read_schema, schema_from_ddl

OTHERS = "".join(
    f"CREATE TABLE machine_{i} (machine_{i}_id INTEGER PRIMARY KEY, torque REAL, name TEXT);"
    for i in range(400)
)


def crowded(database: Path, folder: Path) -> Path:
    others = folder / "others.sqlite"
    connection = sqlite3.connect(others)
    connection.executescript(OTHERS)
    connection.close()
    into = folder / "crowded.sqlite"
    assert put_among(database, [others], into, 400) == 400
    return into


def names(schema: Schema) -> set[str]:
    return {table.name for table in schema.tables}


def test_tables_of_the_question_and_those_that_join_them_are_found(database: Path, tmp_path: Path) -> None:
    path = crowded(database, tmp_path)
    schema = read_schema(path)
    contents = Contents.read(path, schema)

    def found(question: str) -> set[str]:
        return names(relevant(question, schema, contents, most_tables=MAX_TABLES, most_columns=MAX_COLUMNS))

    assert found("names of singers in a concert") >= {"singer", "concert", "singer_in_concert"}
    assert "singer" in found("who comes from the Netherlands?")  # by a value alone
    assert len(found("names of singers in a concert")) < 10


def test_a_prompt_among_many_tables_is_that_of_its_part(database: Path, tmp_path: Path) -> None:
    path = crowded(database, tmp_path)
    schema = read_schema(path)
    prompt = ask("how old is the singer Timbaland?", schema, Contents.read(path, schema))
    assert "singer" in prompt.binding.tables
    assert len(prompt.binding.tables) <= MAX_TABLES
    assert len(prompt.binding.columns) <= MAX_COLUMNS
    assert prompt.binding.schema.table("machine_7") is None


def test_a_table_that_a_chosen_one_refers_to_comes_along_and_not_the_other_way_round() -> None:
    wide = schema_from_ddl(
        "CREATE TABLE faculty (id INTEGER PRIMARY KEY, wage REAL);"
        "CREATE TABLE adviser (id INTEGER PRIMARY KEY, who INTEGER REFERENCES faculty (id));" + OTHERS
    )

    def found(question: str) -> set[str]:
        return names(relevant(question, wide, Contents(), most_tables=MAX_TABLES, most_columns=MAX_COLUMNS))

    assert found("list every adviser") == {"adviser", "faculty"}
    assert found("list every faculty") == {"faculty"}


def test_what_a_table_outside_the_prompt_holds_is_no_value_in_it(schema: Schema, contents: Contents) -> None:
    padding = tuple(Table(f"pad_{i}", schema.tables[0].columns[:1]) for i in range(60))
    wide = Schema((*schema.tables, *padding), schema.foreign_keys)
    held = Contents([("pad_7", padding[7].columns[0].name, "Zanzibar"), ("singer", "name", "Timbaland")])
    places = [
        place
        for value in ask("how old is the singer Timbaland of Zanzibar?", wide, held).links.values
        for place in value.places
    ]
    assert ("singer", "name") in places
    assert {table for table, _ in places} <= {table.name for table in schema.tables}


def test_a_view_of_contents_finds_what_its_tables_hold_alone() -> None:
    whole = Contents([("one", "a", "Rome"), ("two", "b", "rome"), ("two", "b", "Oslo")])
    assert whole.within(["one"]).find("ROME") == {("one", "a"): "Rome"}
    assert whole.within(["one"]).find("Oslo") == {}
    assert whole.find("rome") == {("one", "a"): "Rome", ("two", "b"): "rome"}


def test_a_question_that_names_nothing_still_has_a_prompt() -> None:
    prompt = ask("why?", schema_from_ddl(OTHERS), Contents())
    assert prompt.binding.columns


def test_a_schema_that_fits_is_not_cut(schema: Schema, contents: Contents) -> None:
    assert ask("xyzzy", schema, contents).binding.tables == tuple(table.name for table in schema.tables)


def test_no_tables_are_relevant_where_there_are_none() -> None:
    assert relevant("any", Schema(()), Contents(), most_tables=3, most_columns=3).tables == ()


def test_a_table_between_two_that_are_asked_for_comes_along(schema: Schema, contents: Contents) -> None:
    padding = tuple(Table(f"pad_{i}", schema.tables[0].columns[:1]) for i in range(60))
    wide = Schema((*schema.tables, *padding), schema.foreign_keys)
    part = relevant("singer and concert", wide, contents, most_tables=MAX_TABLES, most_columns=MAX_COLUMNS)
    assert names(part) >= {"singer", "concert", "singer_in_concert"}
