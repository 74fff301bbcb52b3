"""The pipeline takes the likeliest statement that the walls pass, and asks the model what signals ask."""

import json
import math
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from corpus.fold import fold
from corpus.references import YES, Prompt, ask, ask_narrowly
from corpus.telling import tell_prompt
from serving.assembly import load_pipeline
from serving.candidates import Context
from serving.databases import Database
from serving.engines import Completion
from serving.engines.embedded import EmbeddedEngine
from serving.errors import DatabaseUnavailable
from serving.ours import WORDINGS, LanguageModel, ReferenceMask, ReferenceWriter
from serving.pipeline import Pipeline
from serving.settings import Settings
from sqlconf.agreement import Agreement, DistinctRows, NonEmpty
from sqlconf.fusion import Fusion
from sqlconf.likelihood import likelihood
from sqlconf.signal import Answer


class Scripted:
    """An engine that writes what it is told to: the pipeline's own choices are looked at, not a model's."""

    model_name = "scripted"

    def __init__(self, *texts: str, finish_reason: str = "stop") -> None:
        self.texts = texts
        self.finish_reason = finish_reason

    def generate(self, prompts: Sequence[str], **_options: object) -> list[list[Completion]]:
        return [
            [
                Completion(text, (7, 2), (-0.1 * i, -0.1), 5, self.finish_reason)
                for i, text in enumerate(self.texts)
            ]
            for _ in prompts
        ]

    def score(self, prompts: Sequence[str], continuations: Sequence[str]) -> list[tuple[float, ...]]:
        return [(-0.5,) for _ in prompts]


def pipeline(engine: Scripted) -> Pipeline:
    return Pipeline(ReferenceWriter(engine), [likelihood()], Fusion.unfitted(["likelihood"]))


@pytest.fixture
def database(shop: Path) -> Database:
    return Database("shop", shop)


def written(database: Database, sql: str) -> str:
    """What a good model would write for `sql`."""
    prompt = ask("how many suppliers", database.schema(), database.contents())
    return fold(sql, prompt.binding).removesuffix("<eos>")


def test_what_the_model_wrote_comes_back_as_sql_with_a_confidence(database: Database) -> None:
    engine = Scripted(written(database, "SELECT count(*) FROM suppliers"))
    (answer,) = pipeline(engine).ask([("how many suppliers", database)])
    assert database.execute(answer.sql).rows == [[3]]
    assert answer.confidence == pytest.approx(math.exp(-0.05))
    assert (answer.abstain, answer.error, answer.model) == (False, None, "scripted")
    assert (answer.prompt_tokens, answer.completion_tokens) == (
        10,
        4,
    )  # the whole schema, and the part in question


@pytest.mark.parametrize(
    "nonsense",
    [
        "",
        " select",
        " select<c95>",
        " delete from<t0>",
        " select load_extension ( 'x' )",
        " select nowhere from<t0>",
        "(((",
    ],
)
def test_the_first_candidate_that_can_be_run_is_taken(database: Database, nonsense: str) -> None:
    engine = Scripted(nonsense, written(database, "SELECT name FROM suppliers"))
    (answer,) = pipeline(engine).ask([("names of suppliers", database)])
    assert sorted(row[0] for row in database.execute(answer.sql).rows) == ["Acme", "Bolt", "Café"]
    assert answer.signals[0].value == pytest.approx(math.exp(-0.1))


def test_where_no_candidate_can_be_run_the_answer_abstains_and_says_why(database: Database) -> None:
    (answer,) = pipeline(Scripted("(((", " delete from<t0>")).ask([("x", database)])
    assert (answer.sql, answer.confidence, answer.abstain, answer.signals) == ("", 0.0, True, [])
    assert answer.error


def test_a_statement_that_was_cut_short_is_not_run(database: Database) -> None:
    engine = Scripted(written(database, "SELECT name FROM suppliers"), finish_reason="length")
    (answer,) = pipeline(engine).ask([("x", database)])
    assert answer.sql == ""
    assert "did not come to an end" in str(answer.error)


def test_a_confidence_under_the_threshold_abstains(database: Database) -> None:
    engine = Scripted(written(database, "SELECT name FROM suppliers"))
    strict = Pipeline(
        ReferenceWriter(engine), [likelihood()], Fusion.unfitted(["likelihood"]), abstain_below=0.99
    )
    (answer,) = strict.ask([("names", database)])
    assert answer.sql
    assert answer.abstain


def test_a_missing_database_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable):
        pipeline(Scripted("x")).ask([("x", Database("gone", tmp_path / "gone.sqlite"))])


def test_a_mask_leaves_text_and_the_prompts_own_references(database: Database) -> None:
    special = {"<pad>": 0, "<eos>": 2, "<%>": 3, "<t0>": 4, "<t7>": 5, "<c0>": 6, "<c95>": 7}
    special |= {f"<t{i}>": 100 + i for i in range(1, 7)} | {f"<c{i}>": 200 + i for i in range(1, 95)}
    binding = ask("x", database.schema(), database.contents()).binding
    allowed = set(ReferenceMask(12, special, ["<%>"]).allowed(binding))
    assert allowed & set(range(12)) == {1, 3, 4, 6, 8, 9, 10, 11}
    assert 200 + len(binding.columns) - 1 in allowed
    assert 200 + len(binding.columns) not in allowed


def test_the_model_reports_on_itself_and_puts_sql_into_words(
    engine: EmbeddedEngine, database: Database
) -> None:
    prompt = ask("how many suppliers", database.schema(), database.contents())
    context = Context(prompt, written(database, "SELECT count(*) FROM suppliers") + "<eos>")
    answer = Answer("how many suppliers", "SELECT 1", database.schema(), (), context)
    model = LanguageModel(engine)
    (expected,) = engine.score([prompt.text + context.written], [YES])
    assert model.self_report([Answer("x", "y", database.schema()), answer]) == [
        None,
        pytest.approx(math.exp(expected[0])),
    ]
    (none, words) = model.back_translate([Answer("x", "y", database.schema()), answer])
    assert none is None
    assert words is not None
    assert all(isinstance(one, str) for one in words)
    assert len(words) == WORDINGS
    (none, logprobs) = model.question_logprobs([Answer("x", "y", database.schema()), answer])
    assert none is None
    prompt_of_words = tell_prompt(context.written, prompt)
    reference = prompt.binding.table_reference("suppliers")
    assert logprobs == pytest.approx(engine.score([prompt_of_words], [f" how many{reference}<eos>"])[0])


def test_a_real_checkpoint_answers_in_the_right_shape(settings: Settings, database: Database) -> None:
    answers = load_pipeline(settings).ask([("how many suppliers?", database), ("names in Germany", database)])
    for answer in answers:
        assert 0 <= answer.confidence <= 1
        assert answer.model == "random-tiny"
        assert bool(answer.sql) == (answer.error is None)
        json.dumps([vars(signal) for signal in answer.signals])


class Weighed(Scripted):
    """Writes each text with a probability of its own."""

    def generate(self, prompts: Sequence[str], **_options: object) -> list[list[Completion]]:
        return [
            [Completion(text, (7,), (math.log(p),), 5, "stop") for text, p in self.texts] for _ in prompts
        ]


def test_candidates_that_give_the_same_rows_win_together(database: Database) -> None:
    lone = written(database, "SELECT count(*) FROM suppliers WHERE id = 1"), 0.4
    one = written(database, "SELECT count(*) FROM suppliers"), 0.3
    other = written(database, "SELECT count(id) FROM suppliers"), 0.25
    agreeing = Pipeline(
        ReferenceWriter(Weighed(lone, one, other)), [Agreement()], Fusion.unfitted(["agreement"])
    )
    (answer,) = agreeing.ask([("how many suppliers", database)])
    assert database.execute(answer.sql).rows == [[3]]
    assert answer.signals[0].value == pytest.approx(0.55 / 0.95)
    each = Pipeline(
        ReferenceWriter(Weighed(lone, one, other)),
        [Agreement()],
        Fusion.unfitted(["agreement"]),
        run_candidates=False,
    )
    (answer,) = each.ask([("how many suppliers", database)])
    assert database.execute(answer.sql).rows == [[1]]


class ByPrompt(Scripted):
    """Writes for each prompt, known by what its schema's part holds, texts with probabilities of their own."""

    def __init__(self, **by_table: list[tuple[str, float]]) -> None:
        self.by_table = by_table

    def generate(self, prompts: Sequence[str], **_options: object) -> list[list[Completion]]:
        return [
            [
                Completion(text, (7,), (math.log(p),), 5, "stop")
                for text, p in next(texts for word, texts in self.by_table.items() if word in prompt)
            ]
            for prompt in prompts
        ]


def test_what_the_whole_schema_and_its_part_agree_on_wins(database: Database) -> None:
    """The whole schema's likeliest statement is another; a statement that both prompts lead to counts for both."""
    question, counted = "how many suppliers", "SELECT count(*) FROM suppliers"
    whole = ask(question, database.schema(), database.contents())
    narrow = ask_narrowly(question, database.schema(), database.contents())
    assert len(narrow.binding.tables) < len(whole.binding.tables)
    missed = next(table for table in whole.binding.tables if table not in narrow.binding.tables)

    def of(prompt: Prompt, sql: str) -> str:
        return fold(sql, prompt.binding).removesuffix("<eos>")

    engine = ByPrompt(
        **{
            f"{missed.rstrip('s')}": [
                (of(whole, "SELECT id FROM suppliers"), 0.5),
                (of(whole, counted), 0.4),
            ],
            "suppliers": [(of(narrow, counted), 0.6)],
        }
    )
    (answer,) = Pipeline(ReferenceWriter(engine), [Agreement()], Fusion.unfitted(["agreement"])).ask(
        [(question, database)]
    )
    assert answer.sql.casefold() == counted.casefold()
    assert answer.signals[0].value == pytest.approx(0.5 / 0.75)
    alone = Pipeline(ReferenceWriter(engine, narrowed=False), [Agreement()], Fusion.unfitted(["agreement"]))
    (answer,) = alone.ask([(question, database)])
    assert answer.sql.casefold() == "select id from suppliers"


def test_a_candidate_that_finds_something_goes_before_one_that_finds_nothing(database: Database) -> None:
    empty = written(database, "SELECT name FROM suppliers WHERE id = 77"), 0.5
    found = written(database, "SELECT name FROM suppliers"), 0.3
    (answer,) = Pipeline(
        ReferenceWriter(Weighed(empty, found)), [likelihood()], Fusion.unfitted(["likelihood"])
    ).ask([("names", database)])
    assert len(database.execute(answer.sql).rows) == 3


def test_rows_of_an_empty_table_say_nothing_of_the_statement(shop: Path, tmp_path: Path) -> None:
    path = tmp_path / "emptied.sqlite"
    shutil.copyfile(shop, path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("DELETE FROM suppliers")
    database = Database("emptied", path)
    one = written(database, "SELECT name FROM suppliers"), 0.5
    other = written(database, "SELECT name FROM suppliers WHERE id = 77"), 0.3
    signals = [Agreement(), NonEmpty(), DistinctRows()]
    weighed = Pipeline(
        ReferenceWriter(Weighed(one, other)), signals, Fusion.unfitted([signal.name for signal in signals])
    )
    (answer,) = weighed.ask([("names", database)])
    assert database.is_empty("suppliers")
    assert [reading.value for reading in answer.signals] == [pytest.approx(0.5 / 0.8), None, None]
