"""The signals on real answers, and that one broken signal leaves the others standing."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqlconf.back_translation import BackTranslation, ReverseCheck
from sqlconf.errors import ConfidenceError
from sqlconf.likelihood import likelihood, weakest_token, whole_sequence
from sqlconf.self_report import SelfReport
from sqlconf.signal import Answer, Cost, Reading, Signal, measure_all, values
from sqlconf.similarity import Similarity, raw

QUESTION = "How many orders did each supplier get?"
RIGHT = "SELECT s.name, count(*) FROM suppliers AS s JOIN orders AS o ON s.id = o.supplier_id GROUP BY s.id"
WRONG = "SELECT max(total) FROM orders"


class Given:
    """A signal that gives what it is told to give, or raises it."""

    cost = Cost.FREE

    def __init__(self, name: str, gives: Sequence[Reading] | Exception):
        self.name = name
        self.gives = gives

    def measure(self, answers: Sequence[Answer]) -> list[Reading]:
        if isinstance(self.gives, Exception):
            raise self.gives
        return list(self.gives)


def test_the_right_sql_is_nearer_to_its_question(embedder, answer) -> None:
    for view in ({}, {"view": raw, "name": "raw"}):
        right, wrong = Similarity(embedder, **view).measure(
            [answer(QUESTION, RIGHT), answer(QUESTION, WRONG)]
        )
        assert right.value > wrong.value
    assert wrong.note == WRONG


def test_similarity_of_sql_that_does_not_parse_is_missing_and_the_rest_is_not(embedder, answer) -> None:
    answers = [answer(QUESTION, sql) for sql in (RIGHT, "SELECT FROM WHERE", "", RIGHT)]
    readings = Similarity(embedder).measure(answers)
    assert [r.value is None for r in readings] == [False, True, True, False]
    assert readings[0] == readings[3]
    assert readings[0].note == "the supplier name and number of orders for each supplier"
    assert "does not parse" in readings[1].note


def test_back_translation_compares_the_models_words(embedder, answer, table_model) -> None:
    model = table_model({RIGHT: "count the orders of every supplier", WRONG: "the dearest order"}, {})
    answers = [answer(QUESTION, sql) for sql in (RIGHT, "SELECT 1", WRONG)]
    right, silent, wrong = BackTranslation(model, embedder).measure(answers)
    assert right.value > wrong.value
    assert right.note == "count the orders of every supplier"
    assert silent.value is None
    assert "no words" in silent.note


def test_back_translation_is_the_mean_over_the_models_wordings(embedder, answer, table_model) -> None:
    ways = ["count the orders of every supplier", "suppliers and how many orders they have", "  "]
    model = table_model({RIGHT: " / ".join(ways)}, {})
    (reading,) = BackTranslation(model, embedder).measure([answer(QUESTION, RIGHT)])
    assert reading.value == pytest.approx(sum(embedder.similarities([(QUESTION, w) for w in ways[:2]])) / 2)
    assert reading.note == ways[0]


def test_the_reverse_check_is_the_mean_probability_of_the_questions_words(answer, table_model) -> None:
    model = table_model({}, {}, {"a": (math.log(0.5), math.log(0.125)), "b": (0.0,), "c": None, "d": ()})
    readings = ReverseCheck(model).measure([answer(QUESTION, sql) for sql in "abcd"])
    assert [r.value for r in readings] == [pytest.approx(0.25), 1.0, None, None]


def test_self_report_is_what_the_model_says_if_it_is_a_share(answer, table_model) -> None:
    model = table_model({}, {"a": 0.0, "b": 0.9, "c": 1.4, "d": math.nan})
    readings = SelfReport(model).measure([answer(QUESTION, sql) for sql in "abcde"])
    assert [r.value for r in readings] == [0.0, 0.9, None, None, None]
    assert [bool(r.note) for r in readings] == [False, False, True, True, True]


@given(st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=30))
def test_likelihoods_are_geometric_mean_minimum_and_product(probabilities) -> None:
    given_answer = Answer("q", "s", None, tuple(math.log(p) for p in probabilities))
    mean, least, whole = (
        s.measure([given_answer])[0].value for s in (likelihood(), weakest_token(), whole_sequence())
    )
    assert mean == pytest.approx(math.prod(p ** (1 / len(probabilities)) for p in probabilities))
    assert least == pytest.approx(min(probabilities))
    assert whole == pytest.approx(math.prod(probabilities), abs=1e-12)
    assert 0 <= whole <= least * (1 + 1e-9) <= mean * (1 + 2e-9) <= 1 + 3e-9


@pytest.mark.parametrize("logprobs", [(), (math.nan,), (-0.1, math.nan, -0.2), (0.5,), (math.inf,)])
def test_broken_log_probabilities_are_missing(answer, logprobs) -> None:
    for signal in (likelihood(), weakest_token(), whole_sequence()):
        reading = signal.measure([answer("q", "s", logprobs)])[0]
        assert reading.value is None
        assert reading.note


def test_an_impossible_token_makes_the_answer_impossible(answer) -> None:
    for signal in (likelihood(), weakest_token(), whole_sequence()):
        assert signal.measure([answer("q", "s", (-0.1, -math.inf))])[0].value == 0.0


def test_signals_meet_the_protocol(embedder, table_model) -> None:
    model = table_model({}, {})
    every = [likelihood(), Similarity(embedder), BackTranslation(model, embedder), SelfReport(model)]
    assert all(isinstance(signal, Signal) for signal in every)


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (RuntimeError("engine is down"), "engine is down"),
        ([Reading("broken", 0.5)], "1 readings for 2 answers"),
        ([Reading("other", 0.5)] * 2, "named other"),
        ([Reading("broken", 1.5)] * 2, "expected a number in 0..1"),
    ],
)
def test_a_broken_signal_is_missing_and_the_rest_go_on(answer, broken, says) -> None:
    answers = [answer("q", "s", (-0.1,)), answer("q", "s", (-0.2,))]
    measured = measure_all([likelihood(), Given("broken", broken), weakest_token()], answers)
    assert [[r.name for r in row] for row in measured] == [["likelihood", "broken", "weakest_token"]] * 2
    for row in measured:
        assert row[1].value is None
        assert says in row[1].note
        assert row[0].value == row[2].value != None  # noqa: E711
        assert all(r.ms >= 0 for r in row)
    assert values(measured[0]) == {
        "likelihood": measured[0][0].value,
        "broken": None,
        "weakest_token": measured[0][2].value,
    }


def test_a_reading_that_is_not_a_number_is_missing(answer) -> None:
    signal = Given("odd", [Reading("odd", math.nan), Reading("odd", 0.25)])
    first, second = measure_all([signal], [answer("q", "s"), answer("q", "s")])
    assert (first[0].value, second[0].value) == (None, 0.25)
    assert "not a number" in first[0].note


def test_a_model_that_answers_too_little_takes_only_its_own_signals_down(
    embedder, answer, table_model
) -> None:
    class Short(table_model):
        def back_translate(self, answers):
            return []

        def self_report(self, answers):
            return []

    model = Short({}, {})
    rows = measure_all(
        [BackTranslation(model, embedder), SelfReport(model), Similarity(embedder)], [answer(QUESTION, RIGHT)]
    )
    assert [reading.value is None for reading in rows[0]] == [True, True, False]


def test_nothing_to_measure_measures_nothing(answer) -> None:
    assert measure_all([likelihood()], []) == []
    assert measure_all([], [answer("q", "s")]) == [[]]


def test_two_signals_of_one_name_are_refused(answer) -> None:
    with pytest.raises(ConfidenceError, match="two signals are named likelihood"):
        measure_all([likelihood(), likelihood()], [answer("q", "s")])
