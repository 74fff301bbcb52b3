"""How hard a question is, by its SQL: the four levels that Spider's evaluation (Yu et al. 2018, arXiv:1809.08887) reports.

Three counts decide. `parts` is of WHERE, GROUP BY, ORDER BY, LIMIT, each join, each OR and each LIKE; `nested` of queries
inside conditions and of a set operation; `others` of the things that there is more than one of: aggregates, columns of
SELECT, conditions of WHERE, columns of GROUP BY. All are of the outermost query alone, of a set operation's first member.

Two oddities of the official count are kept, because figures could not be compared without them (on Spider's dev they
decide 19 of 1,034): a negated condition counts as an aggregate, as does an AND or OR of HAVING, while an aggregate of
HAVING does not; and a query in FROM is no nested one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from sqlglot import exp


class Hardness(StrEnum):
    """The four levels, from the easiest on."""

    EASY = "easy"
    MEDIUM = "medium"
    HARD = "hard"
    EXTRA = "extra"


@dataclass(frozen=True)
class Counts:
    """What the level is decided on."""

    parts: int
    nested: int
    others: int

    @property
    def level(self) -> Hardness:
        parts, others = self.parts, self.others
        if self.nested:
            return Hardness.HARD if self.nested == 1 and parts <= 1 and others == 0 else Hardness.EXTRA
        if parts <= 1 and others == 0:
            return Hardness.EASY
        if (parts <= 1 and others <= 2) or (parts <= 2 and others <= 1):
            return Hardness.MEDIUM
        if (parts <= 2 and others > 2) or (parts == 3 and others <= 2):
            return Hardness.HARD
        return Hardness.EXTRA


def hardness(query: exp.Query) -> Hardness:
    """The level of a parsed query."""
    return counts(query).level


def counts(query: exp.Query) -> Counts:
    """Spider's three counts of a parsed query."""
    select = _first(query)
    joins = select.args.get("joins") or []
    on = [part for join in joins for part in _conditions(join.args.get("on"))]
    where, having = _conditions(_inside(select, "where")), _conditions(_inside(select, "having"))
    atoms = [part for part in (*on, *where, *having) if not isinstance(part, exp.Connector)]
    clauses = sum(select.args.get(clause) is not None for clause in ("where", "group", "order", "limit"))
    ors = sum(isinstance(part, exp.Or) for part in (*on, *where, *having))
    likes = sum(isinstance(_affirmed(atom), exp.Like) for atom in atoms)
    group = select.args.get("group")
    many = (_aggregates(select, where, having), len(select.expressions), len(where), _columns(group))
    return Counts(
        parts=clauses + len(joins) + ors + likes,
        nested=isinstance(query.unnest(), exp.SetOperation) + sum(_queries(atom) for atom in atoms),
        others=sum(number > 1 for number in many),
    )


def _first(query: exp.Expr) -> exp.Select:
    while not isinstance(query, exp.Select):
        query = query.this
    return query


def _inside(select: exp.Select, clause: str) -> exp.Expr | None:
    found = select.args.get(clause)
    return None if found is None else found.this


def _conditions(condition: exp.Expr | None) -> list[exp.Expr]:
    """The single conditions, and the ANDs and ORs between them."""
    if condition is None:
        return []
    if isinstance(condition, exp.Paren):
        return _conditions(condition.this)
    if isinstance(condition, exp.Connector):
        return [condition, *_conditions(condition.left), *_conditions(condition.right)]
    return [condition]


def _affirmed(condition: exp.Expr) -> exp.Expr:
    """The condition without its NOT."""
    while isinstance(condition, (exp.Not, exp.Paren)):
        condition = condition.this
    return condition


def _negated(condition: exp.Expr) -> bool:
    """NOT before an operator; IS NOT is an operator of its own, as is <>."""
    inner = _affirmed(condition)
    return bool(inner.args.get("negate")) or (condition is not inner and not isinstance(inner, exp.Is))


def _aggregates(select: exp.Select, where: list[exp.Expr], having: list[exp.Expr]) -> int:
    order = select.args.get("order")
    ordered = [] if order is None else order.expressions
    shown = sum(any(isinstance(node, exp.AggFunc) for node in _own(column)) for column in select.expressions)
    sorted_by = sum(isinstance(node, exp.AggFunc) for column in ordered for node in _own(column))
    connectors = sum(isinstance(part, exp.Connector) for part in having)
    return shown + sorted_by + connectors + sum(_negated(part) for part in (*where, *having))


def _columns(group: exp.Expr | None) -> int:
    return 0 if group is None else len(group.expressions)


def _own(node: exp.Expr) -> Iterator[exp.Expr]:
    """The nodes of one expression, not those of a query inside it."""
    return (found for found in node.walk(prune=_is_query) if not _is_query(found))


def _queries(condition: exp.Expr) -> int:
    """Queries in a condition, not counting those inside them."""
    return sum(_is_query(node) for node in condition.walk(prune=_is_query))


def _is_query(node: exp.Expr) -> bool:
    return isinstance(node, (exp.Select, exp.SetOperation))
