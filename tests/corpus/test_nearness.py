"""Names near a word in meaning, on the real word vectors."""

import re
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from corpus.contents import Contents
from corpus.nearness import Nearness
from corpus.parallel import FEW, in_order
from corpus.references import NEAR, ask
from corpus.schema import Schema
from sqlconf.embedding import Embedder


@pytest.fixture(scope="module")
def near() -> Nearness:
    return Nearness(Embedder().embed)


def test_a_synonym_is_near_and_an_unrelated_word_is_not(near: Nearness) -> None:
    names = ("salary", "employee", "birth date", "city")
    assert near(["wage", "worker", "gravel"], names) == [[0], [1], []]
    assert near([], names) == [] and near(["wage"], ()) == [[]]


def test_the_prompt_names_what_a_word_is_near_to(schema: Schema, contents: Contents, near: Nearness) -> None:
    question = "how many vocalists are there"
    assert NEAR not in ask(question, schema, contents).question
    prompt = ask(question, schema, contents, near=near)
    assert f"vocalists{NEAR}{prompt.binding.table_reference('singer')}" in prompt.question


def test_words_of_a_value_are_near_to_nothing(schema: Schema, contents: Contents, near: Nearness) -> None:
    assert NEAR not in ask("joe sharp", schema, contents, near=near).question


def test_each_text_is_computed_once() -> None:
    asked: list[str] = []

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        asked.extend(texts)
        return np.eye(4, dtype=np.float32)[[len(text) % 4 for text in texts]]

    near = Nearness(embed)
    near.learn(["a", "bb"])
    assert near(["a", "ccc"], ("bb", "d")) == [[1], []]
    assert sorted(asked) == ["a", "bb", "ccc", "d"]


@pytest.mark.parametrize("count", [0, 3, FEW + 50])
def test_work_on_all_processors_comes_back_in_order(count: int) -> None:
    offset = 7  # forked processes see it
    assert list(in_order(lambda number: number * number + offset, count)) == [
        n * n + offset for n in range(count)
    ]


def test_columns_that_nothing_names_stand_at_the_end_by_meaning(
    schema: Schema, contents: Contents, near: Nearness
) -> None:
    names = ("price of ticket", "birth date of driver", "colour of car")
    assert near.closest(["hue", "vehicle"], names)[0] == 2
    assert near.closest([], names) == [] and near.closest(["hue"], ()) == []
    prompt = ask("who is the eldest of the singers", schema, contents, near=near)
    tail = prompt.question.rpartition(f" |{NEAR}")[2]
    close = [prompt.binding.columns[int(number)] for number in re.findall(r"<c(\d+)>", tail)]
    assert ("singer", "age") in close
    assert len(close) <= 5
    named = {("singer", "age")} & set(prompt.links.marks)
    assert not named
    keys = {column for column in schema.columns() if column[1].primary_key}
    assert not {(table.name, column.name) for table, column in keys} & set(close)
    asked = ask("the age of the singers", schema, contents, near=near)
    assert asked.binding.column_reference("singer", "age") not in asked.question.rpartition(f" |{NEAR}")[2]
