"""How clearly a result wins, what stays in other orders of the schema, and which words nothing stands for."""

import math
import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest

from sqlconf.agreement import Agreement, ResultProbability
from sqlconf.coverage import Aligner
from sqlconf.doubts import doubts
from sqlconf.rivals import ResultEntropy, Rivalry, strongest_rival
from sqlconf.signal import Answer, Candidate, Cost, Reading, measure_all
from sqlconf.views import Views


def considered(answer: Answer, *parts: tuple[str, float, str | None]) -> Answer:
    return replace(
        answer, candidates=tuple(Candidate(sql, logprob, key, 1, 5) for sql, logprob, key in parts)
    )


def value(signal, answer: Answer) -> float | None:
    return signal.measure([answer])[0].value


def test_rivalry_is_the_share_of_the_two_likeliest_results(answer) -> None:
    one = considered(
        answer("how many", "A"), ("A", math.log(0.5), "x"), ("A2", math.log(0.1), "x"), ("B", math.log(0.2), "y"),
        ("C", math.log(0.1), "z"),
    )  # fmt: skip
    assert value(Rivalry(), one) == pytest.approx(0.6 / 0.8)
    assert "B" in Rivalry().measure([one])[0].note


def test_where_all_agree_there_is_no_rival_and_no_entropy(answer) -> None:
    one = considered(answer("how many", "A"), ("A", -0.1, "x"), ("B", -1.0, "x"))
    assert value(Rivalry(), one) == 1.0
    assert value(ResultEntropy(), one) == 1.0
    assert strongest_rival(one) is None


def test_two_equal_results_are_as_uncertain_as_can_be(answer) -> None:
    one = considered(answer("how many", "A"), ("A", -1.0, "x"), ("B", -1.0, "y"))
    assert value(ResultEntropy(), one) == pytest.approx(0.0)
    assert value(Rivalry(), one) == pytest.approx(0.5)


@pytest.mark.parametrize("logprob", [math.nan, -math.inf])
def test_probabilities_that_are_none_are_missing_or_left_out(answer, logprob) -> None:
    one = considered(answer("how many", "A"), ("A", logprob, "x"), ("B", logprob, "y"))
    for signal in (Rivalry(), ResultEntropy(), Agreement()):
        assert value(signal, one) is None
    (summed,) = ResultProbability().measure([one])
    assert summed.value == (None if math.isnan(logprob) else 0.0)


def test_without_candidates_they_are_missing(answer) -> None:
    assert value(Rivalry(), answer("how many", "A")) is None
    assert value(ResultEntropy(), answer("how many", "A")) is None


class Orders:
    """A model that scores the SQL in other orders as it is told, and counts how often it is asked."""

    def __init__(self, *views: tuple[tuple[float, ...], ...] | None):
        self.views = list(views)
        self.asked = 0

    def view_logprobs(self, answers: Sequence[Answer]) -> list[tuple[tuple[float, ...], ...] | None]:
        self.asked += 1
        return self.views[: len(answers)]


def test_views_are_asked_for_once_and_read_as_mean_and_spread(answer) -> None:
    model = Orders(((-2.0, -1.0), (-4.0, -2.0)))
    probability, steadiness = Views(model).signals()
    one = answer("how many", "A", (-1.0, -1.0))
    ((mean, spread),) = measure_all([probability, steadiness], [one])
    assert mean.value == pytest.approx(math.exp(-(2 + 3 + 6) / 3))
    assert spread.value == pytest.approx(math.exp(2 - 6))
    assert model.asked == 1
    assert mean.cost == Cost.SCORING


def test_a_model_without_views_or_with_a_nan_leaves_them_missing(answer) -> None:
    probability, _ = Views(Orders(None, ((math.nan,),))).signals()
    answers = [answer("a", "A", (-1.0,)), answer("b", "B", (-1.0,))]
    assert [reading.value for reading in probability.measure(answers)] == [None, None]


def test_a_word_that_a_name_left_out_fits_better_counts_against_the_sql(answer, embedder) -> None:
    coverage, better = Aligner(embedder).signals()
    right = answer("what is the total of the orders", "SELECT total FROM orders")
    wrong = answer("what is the total of the orders", "SELECT name FROM suppliers")
    assert value(coverage, right) > value(coverage, wrong)
    assert value(better, right) > value(better, wrong)
    assert "total" in better.measure([wrong])[0].note or "order" in better.measure([wrong])[0].note


def test_sql_that_no_parser_takes_and_questions_without_words_are_missing(answer, embedder) -> None:
    coverage, _ = Aligner(embedder).signals()
    assert value(coverage, answer("what is the total", "SELEC (")) is None
    assert value(coverage, answer("?", "SELECT total FROM orders")) is None


def test_the_weakest_clause_and_token_are_named(answer) -> None:
    one = replace(
        answer("how many", "SELECT a FROM t WHERE b = 1", (-0.01, -0.01, -0.02, -0.01, -1.2, -0.01)),
        tokens=(" select", "<c0>", " where", "<c1>", " =", "<v0>"),
    )
    found = {doubt.kind: doubt for doubt in doubts(one, [])}
    assert found["clause"].what == "WHERE"
    assert found["token"].what == "="
    assert "0.30" in found["token"].note


def test_what_is_sure_is_not_doubted(answer) -> None:
    one = replace(answer("how many", "A", (-0.001, -0.001)), tokens=("select", "<c0>"))
    assert doubts(one, []) == []


def test_the_signal_that_takes_most_off_is_named_with_its_note(answer) -> None:
    class Told:
        def contributions(self, readings):
            return {"good": 0.5, "bad": -1.5}

    readings = [Reading("good", 0.9), Reading("bad", 0.1, note="no such value")]
    (found,) = doubts(answer("how many", "A"), readings, Told())
    assert (found.kind, found.what) == ("signal", "bad")
    assert "no such value" in found.note


class Named:
    cost = Cost.FREE

    def __init__(self, name: str, act):
        self.name = name
        self._act = act

    def measure(self, answers):
        self._act()
        return [Reading(self.name, 0.5)] * len(answers)


def test_a_signal_that_takes_too_long_is_missing_and_the_rest_go_on(answer) -> None:
    over = threading.Event()
    ((slow, quick),) = measure_all(
        [Named("slow", over.wait), Named("quick", lambda: None)], [answer("a", "A")], limit_s=0.05
    )
    over.set()
    assert (slow.value, quick.value) == (None, 0.5)
    assert "longer than" in slow.note


def test_a_signal_that_raises_within_its_limit_is_missing_with_the_reason(answer) -> None:
    def fail() -> None:
        raise RuntimeError("the database died")

    ((bad, good),) = measure_all(
        [Named("bad", fail), Named("good", lambda: None)], [answer("a", "A")], limit_s=5
    )
    assert (bad.value, good.value) == (None, 0.5)
    assert "the database died" in bad.note
