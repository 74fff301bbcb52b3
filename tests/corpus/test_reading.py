"""Readers: schemas, question files, and the errors for what is none."""

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from corpus.compare import is_ordered, same_answer
from corpus.contents import Contents
from corpus.coverage import coverage
from corpus.demo import build_demo_database
from corpus.demo_questions import demo_questions
from corpus.errors import BrokenLine, CorpusError, NotADatabase
from corpus.held_out import write_demo
from corpus.joins import connect
from corpus.mixture import GROUP, _sources, calibration_databases, fingerprint, training_texts
from corpus.nearness import Nearness
from corpus.references import CLOSE
from corpus.schema import ForeignKey, Schema, read_schema, schema_from_ddl
from corpus.spider import DatabaseFolder, read_examples

GOOD = '{"id": "1", "question": "how many?", "sql": "SELECT 1", "db_id": "d"}'


def test_schema_has_types_and_keys(schema: Schema) -> None:
    assert [table.name for table in schema.tables] == ["singer", "concert", "singer_in_concert", "order"]
    kinds = {column.name: column.type for column in schema.tables[1].columns}
    assert kinds == {"concert_id": "number", "concert_name": "text", "year": "number", "held": "time"}
    assert ForeignKey("singer_in_concert", "singer_id", "singer", "singer_id") in schema.foreign_keys


def test_tables_between_two_others_are_joined_through(schema: Schema) -> None:
    found = connect(schema, ["singer", "concert"])
    assert found is not None and set(found[0]) == {"singer", "singer_in_concert", "concert"}
    assert connect(schema, ["singer", "order"]) is None


def test_undeclared_keys_are_inferred_from_names() -> None:
    schema = schema_from_ddl(
        "CREATE TABLE a (a_id INTEGER PRIMARY KEY); CREATE TABLE b (id INTEGER PRIMARY KEY, a_id INTEGER)"
    )
    assert schema.joins == (ForeignKey("b", "a_id", "a", "a_id"),)


@pytest.mark.parametrize("content", [b"", b"not a database at all" * 100])
def test_a_file_that_is_no_database(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.sqlite"
    path.write_bytes(content)
    if content:
        with pytest.raises(NotADatabase, match=r"x\.sqlite"):
            read_schema(path)
    else:
        assert read_schema(path).tables == ()  # SQLite takes an empty file for an empty database


def test_a_view_on_nothing_does_not_hide_the_rest(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "v.sqlite")
    connection.executescript(
        "CREATE TABLE a (x TEXT); CREATE TABLE b (y TEXT); INSERT INTO b VALUES ('here');"
        "CREATE VIEW v AS SELECT x FROM a; DROP TABLE a"
    )
    connection.close()
    schema = read_schema(tmp_path / "v.sqlite")
    assert [table.name for table in schema.tables] == ["b"]
    assert Contents.read(tmp_path / "v.sqlite", schema).find("HERE") == {("b", "y"): "here"}


def test_a_missing_database(tmp_path: Path) -> None:
    with pytest.raises(NotADatabase, match="no such"):
        read_schema(tmp_path / "nothing.sqlite")


@pytest.mark.parametrize(
    "line",
    ["{", "[]", '{"question": "q", "db_id": "d"}', '{"question": "", "sql": "s", "db_id": "d"}',
     '{"question": "q", "sql": 3, "db_id": "d"}', '{"question": "q", "sql": null, "db_id": "d"}', "\udcff"],
)  # fmt: skip
def test_a_broken_line_is_named_by_its_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / "q.jsonl"
    path.write_bytes(f"{GOOD}\n\n{line}\n".encode("utf-8", "surrogateescape"))
    with pytest.raises(BrokenLine, match="line 3"):
        read_examples(path)


def test_ids_keep_their_kind_and_answers_may_be_unknown(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text(
        '{"id": 7, "question": "q", "sql": null, "db_id": "d"}\n{"question": "q", "sql": "s", "db_id": "d"}\n'
    )
    first, second = read_examples(path, answers_required=False)
    assert (first.raw_id, first.id, first.sql) == (7, "7", None)
    assert (second.raw_id, second.id) == (2, "2")


def test_training_does_not_begin_on_a_broken_file(tmp_path: Path) -> None:
    (tmp_path / "spider" / "databases").mkdir(parents=True)
    (tmp_path / "spider" / "train.jsonl").write_text(f"{GOOD}\nbroken\n")
    with pytest.raises(BrokenLine, match="line 2"):
        next(training_texts({"root": str(tmp_path), "spider": 1}, 0))


@pytest.mark.parametrize(
    "data", [{}, {"spidr": 1}, {"spider": 1}, {"demo": 2.5}, {"demo": "many"}, {"demo": 5, "root": 3}]
)
def test_training_data_that_names_nothing_is_refused(data: dict[str, int]) -> None:
    with pytest.raises(CorpusError):
        next(training_texts(data, 0))


def test_training_texts_follow_from_the_seed() -> None:
    data = {"demo": 40, "tell": 0.5, "verify": 0.5}
    first, again = (list(training_texts(data, 7)) for _ in range(2))
    assert first == again != list(training_texts(data, 8))
    assert {pair.task for pair in first} == {"ask", "tell", "verify"}
    assert all(pair.target.endswith("<eos>") for pair in first if pair.task == "ask")
    assert {pair.target for pair in first if pair.task == "verify"} == {"<yes>", "<no>"}


def test_the_demo_may_keep_its_order_and_is_shuffled_otherwise() -> None:
    def first_tables(data: dict[str, float]) -> set[str]:
        pairs = [pair for pair in training_texts({"demo": 160, **data}, 7) if pair.task == "ask"]
        return {re.sub("<.*", "", pair.shared.removeprefix("<bos><schema><tab> ")) for pair in pairs}

    assert first_tables({"demo_in_order": 1.0}) == {"suppliers"}
    assert len(first_tables({})) > 3


def test_a_share_of_questions_is_put_with_a_part_of_the_schema() -> None:
    def whole_and_less(data: dict[str, float]) -> tuple[int, int]:
        pairs = [pair for pair in training_texts({"demo": 80, "tell": 0.0, **data}, 7) if pair.task == "ask"]
        sizes = [pair.shared.count("<tab>") for pair in pairs]
        return sum(size == max(sizes) for size in sizes), sum(size < max(sizes) for size in sizes)

    assert whole_and_less({})[1] == 0
    whole, less = whole_and_less({"narrowed": 0.5})
    assert whole > 10 and less > 10


def test_the_columns_closest_in_meaning_are_given_and_not_learned() -> None:
    def one_each(texts: Sequence[str]) -> NDArray[np.float32]:
        return np.eye(8, dtype=np.float32)[[len(text) % 8 for text in texts]]

    pairs = [p for p in training_texts({"demo": 20}, 7, Nearness(one_each)) if p.task == "ask"]
    assert all(pair.given.startswith(CLOSE) and pair.given.endswith("<sql>") for pair in pairs)
    assert not any(CLOSE in pair.linked for pair in pairs)
    assert not any(pair.given for pair in training_texts({"demo": 20}, 7))


def test_the_fingerprint_follows_the_data(tmp_path: Path) -> None:
    (tmp_path / "spider").mkdir()
    file = tmp_path / "spider" / "train.jsonl"
    file.write_text(GOOD)
    before = fingerprint({"root": str(tmp_path)})
    assert before == fingerprint({"root": str(tmp_path)})
    file.write_text(GOOD + "\n")
    assert before != fingerprint({"root": str(tmp_path)})


def test_calibration_databases_are_a_fixed_share() -> None:
    names = [f"d{i:02d}" for i in range(16)] * 3
    assert calibration_databases(names, 8) == {"d00", "d08"}
    assert calibration_databases(names, 0) == frozenset()


def test_a_database_name_cannot_leave_its_folder(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="leaves"):
        DatabaseFolder(tmp_path).path("../etc")


Rows = st.lists(st.tuples(st.integers() | st.text() | st.none(), st.floats(allow_nan=False)), max_size=6)


@given(rows=Rows, data=st.data())
def test_order_matters_only_where_asked(rows: list[tuple[object, float]], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(rows))
    assert same_answer(rows, shuffled, ordered=False)
    assert same_answer(rows, rows, ordered=True)
    assert not same_answer(rows, [*rows, ("one more", 0.0)], ordered=False)


def test_answers_differ_in_values_columns_and_counts() -> None:
    assert same_answer([(1.0, "a")], [(1, "a")], ordered=False)
    assert same_answer([(1234567,)], [(1234567.0,)], ordered=False)
    assert not same_answer([(1234567.0,)], [(1234568.0,)], ordered=False)
    assert same_answer([(1 / 3,)], [(0.33333331,)], ordered=False)
    assert not same_answer([(1, 2)], [(2, 1)], ordered=False)
    assert not same_answer([(1,), (1,)], [(1,)], ordered=False)
    assert not same_answer([("1",)], [(1,)], ordered=False)


@pytest.mark.parametrize(
    ("sql", "ordered"),
    [
        ("SELECT a FROM t ORDER BY a", True),
        ("SELECT a FROM t", False),
        ("SELECT (SELECT a FROM t ORDER BY a LIMIT 1)", False),
        (";;", False),
    ],
)
def test_only_the_outermost_order_counts(sql: str, ordered: bool) -> None:
    assert is_ordered(sql) is ordered


def test_coverage_counts_what_comes_back(database: Path, tmp_path: Path) -> None:
    lines = [
        {"id": "1", "question": "all names", "sql": "SELECT name FROM singer", "db_id": "concerts"},
        {
            "id": "2",
            "question": "all names",
            "sql": "SELECT * FROM (SELECT name FROM singer)",
            "db_id": "concerts",
        },
    ]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert coverage(tmp_path / "q.jsonl", database.parent) == {"same rows": 1, "not folded": 1}


def test_held_out_files_are_what_eval_reads(tmp_path: Path) -> None:
    examples = read_examples(write_demo(tmp_path, "test", 20, 3))
    folder = DatabaseFolder(tmp_path)
    assert len(examples) == 20 and {e.db_id for e in examples} == {"demo"}
    assert folder.schema("demo").table("suppliers") is not None


def test_questions_on_a_database_share_its_schema_and_no_pair_is_lost() -> None:
    pairs = list(training_texts({"demo": 64, "tell": 1.0, "verify": 1.0}, 3))
    asked = [pair for pair in pairs if pair.task == "ask"]
    assert len({pair.linked for pair in asked}) > 60
    assert {pair.shared.count("<tab>") for pair in pairs} == {8}
    runs = [list(group) for _, group in groupby(pairs, key=lambda pair: pair.shared)]
    assert len(runs) == 64 // GROUP
    assert all(pair.prompt.startswith("<ask><tell>") == (pair.task == "tell") for pair in pairs)


def test_synthetic_questions_leave_out_the_databases_kept_for_calibration(tmp_path: Path) -> None:
    folder = tmp_path / "spider" / "databases"
    folder.mkdir(parents=True)
    for name in ("kept", "left_out"):  # by name the first of two is left out
        build_demo_database(folder / f"{'z' if name == 'kept' else 'a'}_{name}.sqlite")
    lines = [
        json.dumps({"id": d, "question": "q", "sql": "SELECT 1", "db_id": d})
        for d in ("a_left_out", "z_kept")
    ]
    (tmp_path / "spider" / "train.jsonl").write_text("\n".join(lines))
    drawn: list[str] = []
    for source in _sources({"root": str(tmp_path), "synthetic": 30, "holdout": 8}, 0, tmp_path):
        drawn += [example.db_id for example in source.examples]
    assert drawn == ["z_kept"] * 30


def test_a_models_attempts_teach_it_to_report_on_itself_and_nothing_else(tmp_path: Path) -> None:
    build_demo_database(tmp_path / "demo.sqlite")
    questions = demo_questions(20, 0, "train", tmp_path / "demo.sqlite")
    fields = ("id", "question", "sql", "db_id")
    lines = [json.dumps({name: getattr(one, name) for name in fields}) for one in questions]
    (tmp_path / "attempts.jsonl").write_text("\n".join(lines))
    made = [
        {"id": one.id, "sql": "SELECT name FROM parts", "correct": i % 2 == 0}
        for i, one in enumerate(questions)
    ]
    made[0]["sql"] = ""
    (tmp_path / "predictions.jsonl").write_text("\n".join(map(json.dumps, made)))
    pairs = list(
        training_texts({"attempts": str(tmp_path), "attempts_repeat": 2, "tell": 1.0, "verify": 1.0}, 0)
    )
    assert len(pairs) == 2 * 19
    assert {pair.task for pair in pairs} == {"verify"}
    assert Counter(pair.target for pair in pairs) == {"<yes>": 18, "<no>": 20}
    (tmp_path / "predictions.jsonl").write_text('{"id": 1}')
    with pytest.raises(CorpusError, match="line 1: no prediction"):
        next(training_texts({"attempts": str(tmp_path)}, 0))


def test_tables_that_no_key_connects_are_joined_by_a_column_named_after_the_other() -> None:
    schema = schema_from_ddl(
        "CREATE TABLE station (id INTEGER PRIMARY KEY, name TEXT);"
        "CREATE TABLE trip (id INTEGER PRIMARY KEY, start_station_id INTEGER, zip_code TEXT);"
        "CREATE TABLE weather (day TEXT, zip_code TEXT)"
    )
    assert set(schema.joins) == {
        ForeignKey("trip", "start_station_id", "station", "id"),
        ForeignKey("weather", "zip_code", "trip", "zip_code"),
    }


def test_names_add_no_join_between_tables_that_declared_keys_connect() -> None:
    schema = schema_from_ddl(
        "CREATE TABLE city (id INTEGER PRIMARY KEY, zip_code TEXT);"
        "CREATE TABLE shop (id INTEGER PRIMARY KEY, place INTEGER REFERENCES city (id), city_id INTEGER, zip_code TEXT)"
    )
    assert schema.joins == (ForeignKey("shop", "place", "city", "id"),)


def test_several_of_wikisqls_tables_make_one_database(tmp_path: Path) -> None:
    rows = [
        {
            "id": str(i),
            "question": f"which name has rank {i}?",
            "sql": f'SELECT "name" FROM t{i} WHERE "rank" = \'r{i}\'',
            "db_id": f"d{i}",
            "ddl": f"CREATE TABLE t{i} (name TEXT, rank TEXT)",
        }
        for i in range(6)
    ]
    (tmp_path / "wikisql").mkdir()
    (tmp_path / "wikisql" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {"root": str(tmp_path), "wikisql": 6, "wikisql_tables": 3}
    (source,) = _sources(data, 0, tmp_path)
    by_database = Counter(example.db_id for example in source.examples)
    assert sorted(by_database.values()) == [3, 3]
    for example in source.examples:
        schema, contents = source.database(example.db_id)
        assert len(schema.tables) == 3
        assert contents.find(f"r{example.id}") == {(f"t{example.id}", "rank"): f"r{example.id}"}
    with pytest.raises(CorpusError, match="wikisql_tables is 0"):
        list(training_texts({**data, "wikisql_tables": 0}, 0))
