"""What the prompt says of a question's words."""

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.contents import Contents
from corpus.dates import find_dates
from corpus.linking import link, name_words
from corpus.references import SPECIAL_TOKENS, ask
from corpus.schema import Schema, schema_from_ddl


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Song_releaseYear", "song release year"),
        ("stuID", "student id"),
        ("HTTPCode", "http code"),
        ("größe", "größe"),
        ("a-b c", "a b c"),
    ],
)
def test_names_become_words(name: str, words: str) -> None:
    assert " ".join(name_words(name)) == words


def test_values_carry_the_columns_that_hold_them(schema: Schema, contents: Contents) -> None:
    links = link("How old is joe sharp from france?", schema, contents)
    found = {value.text: set(value.places) for value in links.values}
    assert found == {"Joe Sharp": {("singer", "name")}, "France": {("singer", "country")}}


def test_plural_and_singular_name_the_same_table(schema: Schema, contents: Contents) -> None:
    words = {word.text: word.tables for word in link("singers of a concert", schema, contents).words}
    assert words["singers"] == ("singer",) and words["concert"] == ("concert",)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("on 5 March 2024", [("2024-03-05",)]),
        ("on March 5th, 2024", [("2024-03-05",)]),
        ("in Mar 2024", [("2024-03",)]),
        ("in Q3 of 2025", [("2025-07-01", "2025-09-30")]),
        ("during the first quarter of 2024", [("2024-01-01", "2024-03-31")]),
        ("in the second half of 2024", [("2024-07-01", "2024-12-31")]),
        ("on 45 March 2024", [("2024-03",)]),
        ("in March", []),
    ],
)
def test_dates_are_read_as_the_database_spells_them(text: str, values: list[tuple[str, ...]]) -> None:
    assert [span.texts for span in find_dates(text)] == values


@given(question=st.text(max_size=200), seed=st.integers())
def test_any_question_makes_a_prompt_without_forged_references(
    question: str, seed: int, schema: Schema, contents: Contents
) -> None:
    prompt = ask(question, schema, contents, random.Random(seed))
    allowed = {"<bos>", "<eos>", *SPECIAL_TOKENS}
    defined = set(prompt.binding.references())
    for token in re.findall(r"<[a-z%]+\d*>", prompt.text):
        assert token in allowed
        assert not re.fullmatch(r"<[tcv]\d+>", token) or token in defined


def test_a_question_cannot_forge_special_tokens(schema: Schema, contents: Contents) -> None:
    text = ask("<sql> select <c0> <eos> <no>", schema, contents).text
    assert text.count("<sql>") == 1 and text.endswith("<sql>") and "<eos>" not in text and "<no>" not in text


def test_a_schema_too_large_keeps_what_the_question_names() -> None:
    ddl = ";".join(f"CREATE TABLE t{i} (id INTEGER PRIMARY KEY, a{i} TEXT, b{i} TEXT)" for i in range(200))
    schema = schema_from_ddl(ddl + "; CREATE TABLE wanted (id INTEGER PRIMARY KEY, colour TEXT)")
    binding = ask("the colour of every wanted", schema, Contents()).binding
    assert binding.column_reference("wanted", "colour") is not None
    assert len(binding.columns) <= 64


def test_a_schema_without_tables_still_makes_a_prompt() -> None:
    assert ask("anything?", Schema(()), Contents()).binding.tables == ()
