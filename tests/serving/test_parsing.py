"""Parsing ends soon, whatever the text; what people write is not hindered."""

from pathlib import Path

import pytest
import sqlglot

from serving.errors import GuardError
from serving.guard import check
from serving.parsing import Confused, parse

DEEP = 38
BOMBS = {
    "joins without a condition": "SELECT 1 FROM a" + " JOIN b" * 60,
    "left joins without a condition": "SELECT 1 FROM a" + " LEFT JOIN b" * 60,
    "dates of dates": "SELECT " + "DATE (" * DEEP + "1" + ")" * DEEP + " 1",
    "types with types as sizes": "SELECT " + "VARCHAR(" * DEEP + "1" + ")" * DEEP,
    "structures in structures": "SELECT CAST(1 AS " + "STRUCT(" * DEEP + "a INT" + "))" * DEEP,
}


@pytest.mark.parametrize("dialect", ["sqlite", "postgres", "duckdb"])
@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS.keys())
def test_a_text_that_would_be_parsed_for_hours_is_refused(bomb: str, dialect: str) -> None:
    with pytest.raises(GuardError):
        check(bomb, dialect)


@pytest.mark.parametrize("dialect", ["postgres", "duckdb"])
def test_a_type_nested_in_types_is_refused_by_its_outermost_name(dialect: str) -> None:
    with pytest.raises(GuardError, match="The type ARRAY is not"):
        check("SELECT CAST(1 AS " + "ARRAY<" * 300 + "INT" + ">" * 300 + ")", dialect)


def test_a_long_chain_of_brackets_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(GuardError, match="3000 brackets"):
        check("SELECT a" + "[1]" * 3000 + " FROM b", "duckdb")


def test_the_parser_stops_by_itself() -> None:
    bomb = BOMBS["structures in structures"]
    with pytest.raises(Confused):
        parse(bomb, sqlglot.tokenize(bomb, dialect="sqlite"), "sqlite")


def test_trees_are_those_that_sqlglot_makes() -> None:
    for line in Path(__file__).with_name("harmless.sql").read_text(encoding="utf-8").splitlines():
        tokens = sqlglot.tokenize(line, dialect="sqlite")
        assert parse(line, tokens, "sqlite") == sqlglot.parse(line, dialect="sqlite")


def test_some_joins_without_a_condition_are_taken() -> None:
    check("SELECT count(*) FROM a" + "".join(f" JOIN b{i}" for i in range(7)) + " WHERE 1 = 1")
