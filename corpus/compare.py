"""Whether two query results are the same answer: execution accuracy's definition here."""

from collections import Counter
from collections.abc import Sequence

import sqlglot
from sqlglot import exp

Row = Sequence[object]


def same_answer(gold: Sequence[Row], predicted: Sequence[Row], *, ordered: bool) -> bool:
    """Rows equal as a list if `ordered`, else as a multiset; columns in the asked order; fractions to 6 digits."""
    if len(gold) != len(predicted):
        return False
    left = [tuple(map(_cell, row)) for row in gold]
    right = [tuple(map(_cell, row)) for row in predicted]
    return left == right if ordered else Counter(left) == Counter(right)


def is_ordered(sql: str) -> bool:
    """Whether the query fixes the order of its rows: an ORDER BY on its outermost level."""
    try:
        tree = sqlglot.parse_one(sql, dialect="sqlite")
    except sqlglot.errors.SqlglotError:
        return False
    return isinstance(tree, exp.Query) and tree.args.get("order") is not None


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float):
        if value.is_integer():
            return int(value)
        rounded = float(f"{value:.6g}")
        return int(rounded) if rounded.is_integer() else rounded
    return value
