"""What is wrong with an answer, told from its SQL and the known SQL: one kind for each wrong answer.

The first that applies, in the order of `ErrorKind`. It runs from what makes all else impossible to compare to the details:
no query, one that does not run, other tables, another structure; then clause by clause, what SELECT gives before what WHERE
keeps. A kind says where the two differ first, not that nothing else does, nor that the difference alone made the answer wrong.
"""

from collections import Counter
from enum import StrEnum

from corpus.query_parts import Parts, query_parts
from corpus.schema import Schema


class ErrorKind(StrEnum):
    """In the order in which they are looked for."""

    NO_SQL = "no_sql"
    KNOWN_SQL_FAILS = "known_sql_fails"
    """The known SQL does not run, so that no answer could be right: a fault of the questions."""
    DOES_NOT_RUN = "does_not_run"
    """Refused by the guard or the database, or stopped at its time limit."""
    TABLES = "wrong_tables"
    """Reads other tables, or joins them otherwise. Where the structure differs as well: reads a table that the known SQL
    does not, and lacks one that it reads."""
    NESTING = "wrong_nesting"
    """Other set operations, or more or fewer queries inside."""
    AGGREGATE = "wrong_aggregate"
    """SELECT gives as many columns, under other aggregates or arithmetic."""
    COLUMNS = "wrong_columns"
    """SELECT gives more, fewer or other columns, or these in another order."""
    CONDITION_COLUMN = "wrong_condition_column"
    """WHERE looks at other columns: a condition is missing, too many or on another column."""
    OPERATOR = "wrong_operator"
    """WHERE compares the same columns by other operators or, where its conditions are all the same, has OR for AND."""
    VALUE = "wrong_value"
    """WHERE compares the same columns by the same operators with something else."""
    GROUP = "wrong_group"
    """Other GROUP BY, HAVING or DISTINCT, or none: which rows are taken together."""
    ORDER = "wrong_order"
    """Other ORDER BY or LIMIT, or none."""
    OTHER = "other"
    """The same parts put together otherwise (brackets, or which query a part is of), or SQL that sqlglot does not read."""


def error_kind(
    known: str, predicted: str, schema: Schema, *, runs: bool = True, known_runs: bool = True
) -> ErrorKind:
    """The kind of a wrong answer `predicted`, of which is known whether it and the known SQL ran on the database."""
    if not predicted.strip():
        return ErrorKind.NO_SQL
    if not known_runs:
        return ErrorKind.KNOWN_SQL_FAILS
    if not runs:
        return ErrorKind.DOES_NOT_RUN
    right, wrong = query_parts(known, schema), query_parts(predicted, schema)
    return ErrorKind.OTHER if right is None or wrong is None else _first_difference(right, wrong)


def _first_difference(right: Parts, wrong: Parts) -> ErrorKind:
    if _other_tables(right, wrong):
        return ErrorKind.TABLES
    if right.nesting != wrong.nesting:
        return ErrorKind.NESTING
    widths = [Counter(map(len, one.shapes.elements())) for one in (right, wrong)]
    if widths[0] == widths[1] and right.shapes != wrong.shapes:
        return ErrorKind.AGGREGATE
    if right.shown != wrong.shown:
        return ErrorKind.COLUMNS
    if right.conditions != wrong.conditions or right.ors != wrong.ors:
        return _condition_kind(right, wrong)
    if (right.distinct, right.groups, right.having) != (wrong.distinct, wrong.groups, wrong.having):
        return ErrorKind.GROUP
    if (right.orders, right.limits) != (wrong.orders, wrong.limits):
        return ErrorKind.ORDER
    return ErrorKind.OTHER


def _other_tables(right: Parts, wrong: Parts) -> bool:
    if right.nesting != wrong.nesting:  # the missing part may have read the missing table
        return not (right.tables.keys() <= wrong.tables.keys() or wrong.tables.keys() <= right.tables.keys())
    return (right.tables, right.joins, right.outer) != (wrong.tables, wrong.joins, wrong.outer)


def _condition_kind(right: Parts, wrong: Parts) -> ErrorKind:
    columns = [{one.columns for one in parts.conditions} for parts in (right, wrong)]
    if columns[0] != columns[1]:
        return ErrorKind.CONDITION_COLUMN
    operators = [{(one.columns, one.operator) for one in parts.conditions} for parts in (right, wrong)]
    if operators[0] != operators[1] or right.conditions == wrong.conditions:
        return ErrorKind.OPERATOR
    return ErrorKind.VALUE
