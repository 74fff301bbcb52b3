"""The grammar as text: Lark reads it, and it lets through what is in the schema and nothing else."""

from functools import cache

import lark
import pytest

from corpus.contents import Contents
from corpus.grammar_lark import reference_lark, sql_lark
from corpus.references import ask
from corpus.schema import Schema, schema_from_ddl

SCHEMA = schema_from_ddl(
    """CREATE TABLE singer (id integer PRIMARY KEY, name text, "release year" int);
    CREATE TABLE "order" (id int PRIMARY KEY, singer_id int REFERENCES singer (id), "größe" text, "a""b" text);"""
)


@cache
def parser() -> lark.Lark:
    return lark.Lark(sql_lark(SCHEMA), parser="earley", lexer="dynamic")


@pytest.mark.parametrize(
    "sql",
    [
        " SELECT count ( * ) FROM singer",
        ' select singer.name from singer join "order" on "order".singer_id = singer.id where singer."release year" > 1990',
        """ select "order"."größe" from "order" where "order"."a""b" like '%it''s%' order by "order".id desc limit 3""",
        " select singer.name from singer where singer.id in ( select max ( singer.id ) from singer )",
    ],
)
def test_plain_sql_over_the_schema_is_taken(sql: str) -> None:
    parser().parse(sql)


@pytest.mark.parametrize(
    "sql",
    [
        " select singer.nam from singer",
        " select song.name from song",
        " drop table singer",
        " select singer.name from singer ; drop table singer",
        " with x as ( select 1 ) select * from x",
        " select singer.größe from singer",
    ],
)
def test_other_names_and_other_statements_are_not(sql: str) -> None:
    with pytest.raises(lark.exceptions.UnexpectedInput):
        parser().parse(sql)


def test_llguidance_which_vllm_uses_takes_both_texts() -> None:
    llguidance = pytest.importorskip("llguidance")
    binding = ask("singers named Bob older than 3", SCHEMA, Contents()).binding
    for text in (
        sql_lark(SCHEMA),
        reference_lark(binding),
        reference_lark(ask("all", SCHEMA, Contents()).binding),
    ):
        grammar = llguidance.LLMatcher.grammar_from_lark(text)
        assert llguidance.LLMatcher.validate_grammar(grammar) == ""


def test_without_values_there_is_no_rule_that_asks_for_one() -> None:
    text = reference_lark(ask("all", SCHEMA, Contents()).binding)
    assert "<v" not in text
    assert "value" not in text


def test_a_schema_without_tables_has_no_statement() -> None:
    with pytest.raises(ValueError, match="no table"):
        sql_lark(Schema(()))
