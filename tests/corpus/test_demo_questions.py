import re
import sqlite3
from collections import Counter
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.demo import build_demo_database
from corpus.demo_questions import (
    SPLITS,
    Draw,
    Grammar,
    Split,
    demo_questions,
    draw_questions,
    drawn_overlap,
    wording_overlap,
)
from corpus.demo_questions.grammar import Words, plain
from corpus.errors import CorpusError

DRAWS = 1000


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_demo_database(tmp_path_factory.mktemp("demo") / "demo.sqlite")


@pytest.fixture(scope="module")
def drawn(database: Path) -> dict[Split, list[Draw]]:
    return {split: draw_questions(DRAWS, 0, split, database) for split in SPLITS}


def literals(sql: str) -> set[str]:
    return {literal.sql() for literal in sqlglot.parse_one(sql, read="sqlite").find_all(sqlglot.exp.Literal)}


def test_the_same_arguments_give_the_same_questions_and_another_seed_others(database: Path) -> None:
    first = demo_questions(200, 7, "train", database)
    assert demo_questions(200, 7, "train", database) == first
    assert demo_questions(200, 8, "train", database) != first


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**40), split=st.sampled_from(SPLITS), n=st.integers(0, 60))
def test_any_seed_gives_n_different_whole_questions_of_demo(
    database: Path, seed: int, split: Split, n: int
) -> None:
    examples = demo_questions(n, seed, split, database)
    assert len({example.question for example in examples}) == len({example.id for example in examples}) == n
    for example in examples:
        assert example.db_id == "demo"
        assert not set("{}[]|") & set(example.question)
        assert example.sql is not None
        assert sqlglot.parse_one(example.sql, read="sqlite").key in ("select", "union", "intersect", "except")


@pytest.mark.parametrize("split", SPLITS)
def test_every_sql_runs_and_has_an_answer(
    split: Split, drawn: dict[Split, list[Draw]], database: Path
) -> None:
    connection = sqlite3.connect(database)
    for draw in drawn[split]:
        assert draw.example.sql is not None
        rows = connection.execute(draw.example.sql).fetchmany(1)
        assert rows and rows[0] != (None,), draw.example.sql


def test_splits_share_no_frame_and_no_phrase_in_the_whole_grammar() -> None:
    assert not wording_overlap(Grammar.load()).wordings


def test_the_check_finds_a_phrase_that_two_splits_share() -> None:
    grammar = Grammar.load()
    late = next(intent for intent in grammar.intents if intent.name == "late_list")
    leaky = replace(
        late, wordings={**late.wordings, "calibration": ("Late deliveries!",), "test": ("late deliveries",)}
    )
    others = tuple(intent for intent in grammar.intents if intent is not late)
    assert "late deliveries" in wording_overlap(replace(grammar, intents=(*others, leaky))).wordings


def test_splits_share_no_drawn_wording_value_or_question(drawn: dict[Split, list[Draw]]) -> None:
    overlap = drawn_overlap(drawn)
    assert not overlap, overlap
    assert drawn_overlap({"train": drawn["train"], "test": drawn["train"][:1]}).questions


def test_train_draws_no_phrase_that_another_split_can_say_though_its_grammar_can(database: Path) -> None:
    grammar = Grammar.load()
    drawn_in_train = {plain(draw.phrase) for draw in draw_questions(5000, 1, "train", database)}
    assert not drawn_in_train & grammar.held_back
    small = next(intent for intent in grammar.intents if intent.name == "late_list")
    assert grammar.held_back & {
        plain(phrase)
        for wording in small.wordings["train"]
        for phrase in grammar.expansions(wording.removeprefix("= "), "train", None)
    }


def test_literals_that_splits_share_belong_to_the_sql_patterns_or_to_the_small_closed_sets(
    drawn: dict[Split, list[Draw]], database: Path
) -> None:
    closed = {f"'{month:02d}'" for month in range(1, 13)} | {"'2024'", "'2025'", "'%m'", "'%Y'", "'%Y-%m'"}
    for table in ("orders", "shipments"):
        rows = sqlite3.connect(database).execute(f"SELECT DISTINCT status FROM {table}")
        closed |= {f"'{row[0]}'" for row in rows}
    said = {
        split: {text for draw in draws for text in literals(draw.example.sql or "")}
        for split, draws in drawn.items()
    }
    patterns = {"0", "0.6", "1", "1.0", "2", "100.0"}
    for one, other in (("train", "test"), ("calibration", "test"), ("train", "calibration")):
        assert said[one] & said[other] <= closed | patterns


@pytest.mark.parametrize("split", SPLITS)
def test_every_intent_is_asked_in_every_split_about_equally(
    split: Split, drawn: dict[Split, list[Draw]]
) -> None:
    counts = Counter(draw.intent for draw in drawn[split])
    assert set(counts) == {intent.name for intent in Grammar.load().intents}
    assert max(counts.values()) <= 2 * DRAWS / len(counts)


def test_every_intent_has_ten_train_wordings_and_at_least_eight_of_the_others() -> None:
    grammar = Grammar.load()
    for intent in grammar.intents:
        for split in SPLITS:
            facet = intent.facets_for(split)[0]
            said = [grammar.frames_of(intent, wording, split) for wording in intent.wordings[split]]
            ways = sum(
                len(frames) * len(set(grammar.expansions(text, split, facet))) for frames, text in said
            )
            assert ways >= (10 if split == "train" else 8), (intent.name, split)


def test_some_pairings_of_intent_and_facet_are_asked_in_test_only(drawn: dict[Split, list[Draw]]) -> None:
    held_out = {(intent.name, facet) for intent in Grammar.load().intents for facet in intent.held_out()}
    pairs = {split: {(draw.intent, draw.facet) for draw in draws} for split, draws in drawn.items()}
    assert not held_out & pairs["train"]
    assert len(held_out & pairs["test"]) > 30


def test_train_has_lower_case_questions_and_slips(drawn: dict[Split, list[Draw]]) -> None:
    lower = sum(draw.example.question.islower() for draw in drawn["train"])
    assert 0.1 < lower / DRAWS < 0.5


def test_the_well_known_question_is_one_of_train_and_means_shipped_then_and_delivered_after_promised(
    database: Path,
) -> None:
    asked_so = [wording for intent in Grammar.load().intents for wording in intent.wordings["train"]]
    assert "= Which <suppliers> shipped late in {month}?" in asked_so
    months = [date(2024, month, 1).strftime("%B") for month in range(1, 13)]
    asked = 0
    for draw in draw_questions(4000, 3, "train", database):
        said = re.search(r"shipped late in (\w{4,})$", draw.example.question.rstrip("?."))
        if said and said[1] in months and draw.example.sql:
            asked += 1
            assert "shipments.delivered_date > shipments.promised_date" in draw.example.sql
            number = months.index(said[1]) + 1
            assert f"strftime('%m', shipments.shipped_date) = '{number:02d}'" in draw.example.sql
    assert asked


def test_a_slip_in_a_lexicon_line_is_named_with_its_place() -> None:
    with pytest.raises(CorpusError, match=r"lexicon.txt, line 3: expected one cell"):
        Words.parse("one | two", "lexicon.txt, line 3")


def test_an_unknown_split_or_a_missing_database_says_what_to_do(database: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="take one of train, calibration, test"):
        demo_questions(1, 0, "dev", database)  # type: ignore[arg-type]
    with pytest.raises(CorpusError, match="build it with"):
        demo_questions(1, 0, "train", tmp_path / "none.sqlite")
