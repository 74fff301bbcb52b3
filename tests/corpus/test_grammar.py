"""The grammar takes every statement that fold writes, and what it lets through unfolds and runs, whatever is drawn."""

import random
import sqlite3
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_fold import QUERIES

from corpus.contents import Contents
from corpus.demo import build_demo_database
from corpus.demo_questions import demo_questions
from corpus.errors import FoldError
from corpus.fold import fold, unfold
from corpus.grammar_tokens import Grammar, Vocabulary
from corpus.references import Prompt, ask
from corpus.schema import Schema, read_schema
from corpus.synthetic import synthetic_questions
from model import Tokenizer
from serving.engines.bars import vocabulary_of
from serving.guard import check

WEIGHTS = Path(__file__).parents[2] / "model" / "weights" / "nano"
MORE = [
    "SELECT name FROM singer WHERE age > (SELECT min(age) FROM singer WHERE country = 'France') ORDER BY age, name DESC LIMIT 3",
    "SELECT count(DISTINCT country), max(age) - min(age) FROM singer",
    "SELECT name FROM singer WHERE NOT country IN ('France', 'Spain') AND age BETWEEN 20 AND 30 OR name IS NULL",
    "SELECT name FROM singer WHERE (age > 3 OR age < 2) AND name LIKE '%a%'",
    "SELECT s.name FROM singer AS s WHERE EXISTS (SELECT 1 FROM singer_in_concert WHERE fee > 10)",
    "SELECT CASE WHEN age > 30 THEN 'old' ELSE 'young' END, count(*) FROM singer GROUP BY country",
    "SELECT name FROM singer UNION SELECT concert_name FROM concert LIMIT 5",
    "SELECT * FROM concert EXCEPT SELECT * FROM concert WHERE year = 2014",
    "SELECT upper(name), round(age / 3, 1) FROM singer WHERE length(name) > 5 ORDER BY abs(age)",
    "SELECT a.name FROM singer AS a JOIN singer AS b ON a.age < b.age WHERE b.name = 'it''s'",
    "SELECT country, avg(age) FROM singer GROUP BY country HAVING avg(age) > (SELECT avg(age) FROM singer)",
    "SELECT concert.concert_name FROM concert LEFT JOIN singer ON concert.year = singer.age",
]


@cache
def tokenizer() -> Tokenizer:
    return Tokenizer.load(WEIGHTS)


@cache
def vocabulary() -> Vocabulary:
    return vocabulary_of(tokenizer())


def accepted(sql: str, prompt: Prompt) -> bool:
    return Grammar(prompt.binding, vocabulary()).accepts(tokenizer().encode(fold(sql, prompt.binding)))


@pytest.mark.parametrize(
    ("question", "sql"), [*QUERIES, *(("singers of France under 30", sql) for sql in MORE)]
)
def test_what_fold_writes_is_accepted(question: str, sql: str, schema: Schema, contents: Contents) -> None:
    for seed in range(3):
        assert accepted(sql, ask(question, schema, contents, random.Random(seed)))


def test_every_kind_of_question_of_the_demo_is_accepted(tmp_path: Path) -> None:
    path = build_demo_database(tmp_path / "demo.sqlite")
    schema = read_schema(path)
    contents = Contents.read(path, schema)
    examples = [
        *demo_questions(150, 5, "train", path),
        *synthetic_questions(150, 5, schema, path, "demo"),
    ]
    for example in examples:
        prompt = ask(example.question, schema, contents)
        try:
            assert accepted(example.sql or "", prompt), example.sql
        except FoldError:
            continue


WRONG = [
    " select<eos>",
    " select count ( * )<eos>",  # of which table?
    " select<c1> where<c99> = 1<eos>",
    " select<c1> where<c1> =<eos>",
    " select sum ( avg (<c3> ) )<eos>",
    " select<c1> where count ( * ) > 1<eos>",
    " select<c1> ,<c2> union select<c1><eos>",
    " select<c1> where<c1> in ( select<c1> ,<c2> )<eos>",
    " select<c1> order by count ( * )<eos>",
    " select<c1> from<t1><eos>",
    " select b .<c1> from<t0><eos>",
    " select<c1> limit 'many'<eos>",
    " select<c1> ; drop table<t0><eos>",
    " select<c0> ,<c12><eos>",  # of tables that nothing joins
    " select<c1> where<c2> = '<c3>'<eos>",
]  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_what_could_not_run_is_refused(text: str, schema: Schema, contents: Contents) -> None:
    prompt = ask("names of singers", schema, contents)
    assert not Grammar(prompt.binding, vocabulary()).accepts(tokenizer().encode(text))


def test_outside_what_is_allowed_there_is_no_next_state(schema: Schema, contents: Contents) -> None:
    grammar = Grammar(ask("names", schema, contents).binding, vocabulary())
    with pytest.raises(KeyError, match="cannot stand here"):
        grammar.after(grammar.start(), tokenizer().eos_id)


def drawn(prompt: Prompt, rng: np.random.Generator, most: int) -> str:
    """A statement drawn token by token, lexemes liked better than the many pieces of strings."""
    grammar = Grammar(prompt.binding, vocabulary())
    state, ids = grammar.start(), []
    references = 200  # ids below are special tokens
    while not ids or ids[-1] != tokenizer().eos_id:
        assert len(ids) < most, f"no end: {tokenizer().decode(ids)}"
        allowed = np.flatnonzero(grammar.mask(state, most - len(ids)))
        weights = np.where(allowed < references, 0.2, 1.0)
        ids.append(int(rng.choice(allowed, p=weights / weights.sum())))
        state = grammar.after(state, ids[-1])
    return tokenizer().decode(ids)


def runs(sql: str, path: Path) -> None:
    check(sql)
    connection = sqlite3.connect(path)
    try:
        connection.execute("EXPLAIN " + sql)
    finally:
        connection.close()


@pytest.mark.parametrize("kind", ["", "left "])
def test_a_join_without_a_condition_runs(
    kind: str, database: Path, schema: Schema, contents: Contents
) -> None:
    prompt = ask("singers and concerts", schema, contents)
    tables = [f"<t{number}>" for number in range(3)]
    text = f" select count(*) from {tables[0]} {kind}join {tables[1]} join {tables[2]} on 1 < 2"
    sql = unfold(text, prompt.binding)
    runs(sql, database)
    connection = sqlite3.connect(database)
    first, second, third = (
        connection.execute(f'SELECT count(*) FROM "{prompt.binding.tables[int(table[2:-1])]}"').fetchone()[0]
        for table in tables
    )
    assert connection.execute(sql).fetchone()[0] == first * second * third
    connection.close()


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), most=st.integers(12, 90))
def test_what_is_drawn_ends_in_time_and_unfolds_and_runs(
    seed: int, most: int, database: Path, schema: Schema, contents: Contents
) -> None:
    prompt = ask("names of singers from France over 30 in 2 concerts", schema, contents, random.Random(seed))
    sql = unfold(drawn(prompt, np.random.default_rng(seed), most), prompt.binding)
    runs(sql, database)


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12).filter(
    str.strip
)


@settings(deadline=None, max_examples=40)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_whatever_the_names_are(
    data: st.DataObject, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("names") / "names.sqlite"
    connection = sqlite3.connect(path)
    for number in range(data.draw(st.integers(1, 3))):
        columns = data.draw(st.lists(NAMES, min_size=1, max_size=4))
        quoted = ['"' + name.replace('"', '""') + '"' for name in (data.draw(NAMES) + str(number), *columns)]
        try:
            connection.execute(f"CREATE TABLE {quoted[0]} ({', '.join(quoted[1:])})")
        except sqlite3.OperationalError:  # two columns of one name, a table of SQLite's own
            continue
    connection.close()
    schema = read_schema(path)
    if not schema.tables:
        return
    prompt = ask("how many 3", schema, Contents())
    sql = unfold(drawn(prompt, np.random.default_rng(seed), 60), prompt.binding)
    runs(sql, path)
