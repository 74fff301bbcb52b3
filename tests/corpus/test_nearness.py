"""Names near a word in meaning, on the real word vectors."""

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
