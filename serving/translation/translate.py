"""A statement that the guard passed, as the database is to run it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Protocol

from sqlglot import ErrorLevel, exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.normalize_identifiers import normalize_identifiers

from corpus.schema import Schema

from ..errors import GuardError
from ..guard import check, check_tree
from . import grouping, values
from .names import resolve

logging.getLogger("sqlglot").setLevel(
    logging.ERROR
)  # its warnings are of statements, which are not ours to log


class Known(Protocol):
    """What is known of a database: its schema, and its columns' types as it declares them."""

    @property
    def schema(self) -> Schema: ...
    @property
    def types(self) -> Mapping[tuple[str, str], str]: ...


def translate(sql: str, written_in: str, dialect: str, known: Known) -> str:
    """`sql`, which is in SQLite's dialect or in `dialect`, in `dialect`. Raises GuardError.

    What comes out is written anew from a tree of known parts: no word of `sql` reaches the database that was not understood.
    """
    tables = frozenset(table.name.casefold() for table in known.schema.tables)
    own = written_in == dialect
    tree = check(sql, written_in, tables if own else None)
    try:
        tree = normalize_identifiers(tree, dialect=dialect) if own else from_sqlite(tree, dialect, known)
        check_tree(tree, dialect, tables)
        return tree.sql(dialect, identify=True, unsupported_level=ErrorLevel.RAISE, comments=False)
    except (SqlglotError, RecursionError, KeyError, AttributeError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0][:200] if isinstance(error, SqlglotError) and str(error) else ""
        raise GuardError(
            f"The statement cannot be put into the dialect of {dialect}. {reason}".strip(),
            "Write it more plainly.",
        ) from error


def from_sqlite(tree: exp.Expr, dialect: str, known: Known) -> exp.Expr:
    """SQLite's statement as one of `dialect` that answers the same rows."""
    tree = resolve(tree, known.schema, known.types, dialect)
    for node in list(_inside_out(tree)):
        made = values.rewrite(node, dialect)
        if made is not None:
            if node is tree:
                tree = made
            else:
                node.replace(made)
    for select in list(tree.find_all(exp.Select)):
        grouping.rewrite(select, dialect)
        _order_of_distinct(select)
    for query in list(tree.find_all(exp.SetOperation)):
        _order_of_sets(query)
    return tree


def _inside_out(node: exp.Expr):  # type: ignore[no-untyped-def]
    for part in list(node.iter_expressions()):
        yield from _inside_out(part)
    yield node


def _order_of_distinct(select: exp.Select) -> None:
    """ORDER BY what a SELECT DISTINCT does not show: grouped instead, and ordered by each group's least."""
    order = select.args.get("order")
    if select.args.get("distinct") is None or order is None or select.args.get("group") is not None:
        return
    shown = {one.unalias().sql() for one in select.expressions} | {
        one.alias_or_name for one in select.expressions
    }
    hidden = [o for o in order.expressions if o.this.sql() not in shown and o.this.name not in shown]
    if not hidden or any(select.find_all(exp.AggFunc, exp.Star)):
        return
    select.set("distinct", None)
    select.set("group", exp.Group(expressions=[one.unalias().copy() for one in select.expressions]))
    for one in hidden:
        kind = exp.Max if one.args.get("desc") else exp.Min
        one.set("this", kind(this=one.this.copy()))


def _order_of_sets(query: exp.SetOperation) -> None:
    """What orders a UNION are its columns, by name."""
    order = query.args.get("order")
    for column in order.find_all(exp.Column) if order is not None else ():
        for one in query.selects:
            if column.table and one.unalias().name == column.name:
                column.replace(exp.column(exp.to_identifier(one.alias_or_name, quoted=True)))
                break
