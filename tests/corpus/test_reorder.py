"""A prompt in another order asks the same: what the SQL stands for does not change with its references' numbers."""

import random
from pathlib import Path

import pytest

from corpus.demo import build_demo_database
from corpus.demo_questions import demo_questions
from corpus.errors import FoldError
from corpus.fold import fold, unfold
from corpus.references import ask
from corpus.reorder import reorder
from corpus.spider import DatabaseFolder


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory):
    folder: Path = tmp_path_factory.mktemp("reorder")
    file = build_demo_database(folder / "demo.sqlite")
    database = DatabaseFolder(folder).read("demo")
    found = []
    for one in demo_questions(40, 3, "train", file):
        prompt = ask(one.question, *database)
        try:
            found.append((prompt, fold(one.sql, prompt.binding)))
        except FoldError:
            continue
    assert len(found) > 20
    return found


@pytest.mark.parametrize("seed", [0, 1])
def test_renamed_sql_is_the_same_sql_and_spelled_as_folding_spells_it(cases, seed: int) -> None:
    moved = 0
    for prompt, folded in cases:
        other = reorder(prompt, random.Random(seed))
        renamed = other.renamed(folded)
        sql = unfold(folded, prompt.binding)
        assert fold(sql, other.prompt.binding) == renamed
        moved += renamed != folded
    assert moved > len(cases) / 2, "the order does change"


def test_nothing_is_lost_and_equal_dice_give_equal_schemas(cases) -> None:
    schemas = set()
    for prompt, _ in cases:
        other = reorder(prompt, random.Random(0)).prompt
        assert sorted(other.binding.columns) == sorted(prompt.binding.columns)
        assert sorted(other.binding.tables) == sorted(prompt.binding.tables)
        assert other.binding.values == prompt.binding.values
        assert len(other.text) > 0.9 * len(prompt.text)
        schemas.add(other.schema)
    assert len(schemas) == 1, "one schema's part of the prompt for all questions"
