"""Agreement of candidates by their results."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqlconf.agreement import Agreement, DistinctRows, NonEmpty, ResultProbability
from sqlconf.signal import Answer, Candidate


class NoSchema:
    tables = ()
    foreign_keys = ()


def answer(sql: str, *candidates: Candidate) -> Answer:
    return Answer("q", sql, NoSchema(), candidates=candidates)


def value(signal, given: Answer):
    (reading,) = signal.measure([given])
    assert reading.name == signal.name
    return reading.value


def half(sql: str, result: str | None, rows: int | None = 1, p: float = 0.5) -> Candidate:
    return Candidate(sql, math.log(p), result, rows)


def test_candidates_that_give_the_same_rows_vote_together():
    given = answer(
        "a", half("a", "R", p=0.4), half("b", "R", p=0.1), half("c", "S", p=0.3), half("", None, None, 0.2)
    )
    assert value(Agreement(), given) == pytest.approx(0.5)
    assert value(ResultProbability(), given) == pytest.approx(0.5)


def test_a_statement_that_was_not_run_agrees_with_itself_alone():
    given = answer("a", half("a", None, None, 0.2), half("b", None, None, 0.2), half("c", "R", p=0.1))
    assert value(Agreement(), given) == pytest.approx(0.4)
    assert value(NonEmpty(), given) is None


def test_without_candidates_there_is_nothing_to_say():
    for signal in (Agreement(), ResultProbability(), NonEmpty(), DistinctRows()):
        assert value(signal, answer("a")) is None


@pytest.mark.parametrize(("rows", "expected"), [(0, 0.0), (1, 1.0), (900, 1.0)])
def test_a_result_that_says_nothing_is_told_from_one_that_does(rows, expected):
    assert value(NonEmpty(), answer("a", half("a", "R", rows))) == expected


def test_rows_that_repeat_count_against_their_statement():
    def result(distinct):
        return answer("a", replace(half("a", "R", 3), distinct=distinct), half("b", "S", 3))

    assert value(DistinctRows(), result(1 / 3)) == pytest.approx(1 / 3)
    assert value(DistinctRows(), result(1.0)) == 1.0
    assert value(DistinctRows(), result(None)) is None


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.floats(-800, 0), st.sampled_from(["R", "S", None])), min_size=1
    )
)
def test_every_value_is_a_share(rows):
    given = answer(rows[0][0], *(Candidate(sql, p, result, 1) for sql, p, result in rows))
    for signal in (Agreement(), ResultProbability()):
        found = value(signal, given)
        assert found is None or 0.0 <= found <= 1.0
