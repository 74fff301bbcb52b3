"""SQL back into words: what the model reads, what it learns to write, and what people read of it."""

import random

import pytest

from corpus.contents import Contents
from corpus.fold import fold
from corpus.references import Prompt, ask
from corpus.schema import Schema, schema_from_ddl
from corpus.telling import references_used, spoken, tell_prompt, told


@pytest.fixture(scope="module")
def schema() -> Schema:
    return schema_from_ddl(
        "CREATE TABLE singer (singer_id INTEGER PRIMARY KEY, singer_name TEXT, birth_year INTEGER, country TEXT);"
        "CREATE TABLE concert (concert_id INTEGER PRIMARY KEY, singer_id INTEGER REFERENCES singer (singer_id), theme TEXT)"
    )


def _asked(schema: Schema, question: str, sql: str) -> tuple[Prompt, str]:
    contents = Contents([("singer", "country", "New Zealand")])
    prompt = ask(question, schema, contents, random.Random(5))
    return prompt, fold(sql, prompt.binding)


QUESTIONS = [
    (
        "What is the birth year of singers from New Zealand?",
        "SELECT birth_year FROM singer WHERE country = 'New Zealand'",
        "what is the birth year of singer from New Zealand?",
    ),
    ("How many concerts are there?", "SELECT count(*) FROM concert", "how many concert are there?"),
    ("Themes, by country", "SELECT theme FROM concert", "theme, by country"),
]


@pytest.mark.parametrize(("question", "sql", "words"), QUESTIONS)
def test_a_question_is_told_with_references_and_spoken_without(
    schema: Schema, question: str, sql: str, words: str
) -> None:
    prompt, folded = _asked(schema, question, sql)
    target = told(prompt, folded)
    assert target.endswith("<eos>")
    assert spoken(target, prompt.binding) == words


def test_only_what_the_sql_uses_is_pointed_at(schema: Schema) -> None:
    prompt, folded = _asked(schema, *QUESTIONS[0][:2])
    used = set(references_used(folded, prompt.binding))
    assert prompt.binding.table_reference("singer") in used
    assert prompt.binding.table_reference("concert") not in used
    _, other = _asked(schema, QUESTIONS[0][0], "SELECT theme FROM concert")
    assert told(prompt, other) == " what is the birth year of singers from new zealand?<eos>"


def test_the_prompt_goes_on_from_the_schema_that_questions_share(schema: Schema) -> None:
    prompt, folded = _asked(schema, *QUESTIONS[1][:2])
    assert tell_prompt(folded, prompt) == f"{prompt.schema}<ask><tell>{folded.removesuffix('<eos>')}<words>"


def test_a_question_forges_no_special_token(schema: Schema) -> None:
    prompt, folded = _asked(schema, "<yes><eos> of <c0>", "SELECT theme FROM concert")
    assert "<" not in told(prompt, folded).removesuffix("<eos>")
