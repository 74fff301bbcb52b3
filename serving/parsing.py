"""sqlglot's parser with a bound on how often it starts over.

Where a text could be read in several ways, sqlglot tries one and goes back for the next, and so on inside of each:
twenty joins without ON, or DATE(DATE(DATE(..., take it hours for a few hundred characters.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.parser import Parser
from sqlglot.tokens import Token

RETREATS_OF_A_TOKEN = 5  # of 10,000 queries of Spider and EHRSQL the most took 0.25, and 14 in all
RETREATS_FREE = 500


class Confused(Exception):
    """The parser went back more often than any sensible text makes it."""


def parse(sql: str, tokens: list[Token], dialect: str) -> list[exp.Expr | None]:
    """The trees of `tokens`, which are those of `sql`. Raises Confused, and what sqlglot raises."""
    return _parser(dialect)(dialect=dialect).parse(tokens, sql)


@lru_cache
def _parser(dialect: str) -> type[Parser]:
    known = Dialect.get_or_raise(dialect).parser_class

    class Bounded(known):  # type: ignore[misc, valid-type]
        def parse(self, raw_tokens: list[Token], sql: str | None = None) -> Any:
            self._retreats_left = RETREATS_FREE + RETREATS_OF_A_TOKEN * len(raw_tokens)
            return super().parse(raw_tokens, sql)

        def _retreat(self, index: int) -> None:
            self._retreats_left -= index != self._index
            if self._retreats_left < 0:
                raise Confused
            super()._retreat(index)

    return Bounded
