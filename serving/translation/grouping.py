"""SQLite lets a grouped SELECT show a column that it neither groups nor aggregates; other databases do not.

Where the only aggregate is one MIN or MAX, the column is that row's, as SQLite documents; else it is some row's, and here the
least value, which is the value wherever the group determines it.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp


def rewrite(select: exp.Select, dialect: str) -> None:
    """Aggregate the bare columns of `select`, if it groups or aggregates."""
    group = select.args.get("group")
    grouped = {one.sql() for one in group.expressions} if group is not None else set()
    clauses = [*select.expressions, *filter(None, [select.args.get("having"), select.args.get("order")])]
    aggregates = [one for clause in clauses for one in _own(clause, exp.AggFunc)]
    if group is None and not aggregates:
        return
    if group is not None:
        titles = {
            one.alias
            for one in select.expressions
            if isinstance(one, exp.Alias) and one.this.sql() in grouped
        }
    else:
        titles = set()
    aliases = {one.alias for one in select.expressions if isinstance(one, exp.Alias)}
    extremes = [one for one in aggregates if isinstance(one, (exp.Min, exp.Max)) and not one.expressions]
    others = [one for one in aggregates if not isinstance(one, (exp.Min, exp.Max))]
    extreme = extremes[0] if len({one.sql() for one in extremes}) == 1 and not others else None
    for clause in clauses:
        for column in list(_bare(clause, grouped)):
            ordering = column.find_ancestor(exp.Order) is not None
            if not column.table and (column.name in titles or (ordering and column.name in aliases)):
                continue
            column.replace(_aggregated(column.copy(), extreme, dialect))


def _own(node: exp.Expr, kind: type) -> Iterator[exp.Expr]:
    """Nodes of that kind in `node`, not in its subqueries or windows."""
    for found in node.walk(prune=lambda one: isinstance(one, (exp.Query, exp.Window))):
        if isinstance(found, kind) and not isinstance(found, (exp.Query, exp.Window)):
            yield found


def _bare(node: exp.Expr, grouped: set[str]) -> Iterator[exp.Column]:
    def known(one: exp.Expr) -> bool:
        return isinstance(one, (exp.Query, exp.AggFunc, exp.Window)) or one.sql() in grouped

    for found in node.walk(prune=known):
        if isinstance(found, exp.Column) and not isinstance(found.this, exp.Star) and not known(found):
            yield found


def _aggregated(column: exp.Column, extreme: exp.Expr | None, dialect: str) -> exp.Expr:
    if extreme is None:
        made: exp.Expr = exp.Min(this=column)
    elif dialect == "duckdb":
        kind = exp.ArgMax if isinstance(extreme, exp.Max) else exp.ArgMin
        made = kind(this=column, expression=extreme.this.copy())
    else:
        order = exp.Ordered(this=extreme.this.copy(), desc=isinstance(extreme, exp.Max), nulls_first=False)
        values = exp.ArrayAgg(this=exp.Order(this=column, expressions=[order]))
        made = exp.Bracket(this=exp.paren(values), expressions=[exp.Literal.number(1)], offset=1, safe=False)
    made.type = column.type
    return made
