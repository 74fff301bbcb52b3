"""What a query is made of, in a form in which two spellings of one thing are equal: for telling where two queries differ.

Columns carry their table in place of its alias, and those that a join equates are one. A double-quoted name that names
nothing is the string that SQLite takes it for. Aliases and positions in GROUP BY, HAVING and ORDER BY stand for what they
name. BETWEEN is two conditions, IN with a list is one for each value, count(column) is count(*). Parts of the queries
inside a query are counted with its own; where such a query stands in a part's text, it is `a_query`.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import sqlglot
from sqlglot import exp

from corpus.schema import Schema

_QUERIES = (exp.Select, exp.SetOperation)
_MIRRORED: dict[type[exp.Expr], type[exp.Binary]] = {
    exp.EQ: exp.EQ, exp.NEQ: exp.NEQ, exp.GT: exp.LT, exp.LT: exp.GT, exp.GTE: exp.LTE, exp.LTE: exp.GTE,
}  # fmt: skip
_DENIED: dict[type[exp.Expr], type[exp.Binary]] = {
    exp.EQ: exp.NEQ, exp.NEQ: exp.EQ, exp.GT: exp.LTE, exp.LTE: exp.GT, exp.LT: exp.GTE, exp.GTE: exp.LT,
}  # fmt: skip
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?")

Columns = frozenset[str]


@dataclass(frozen=True)
class Condition:
    """One comparison: the columns it looks at, how, and the whole of it as text."""

    columns: Columns
    operator: str
    text: str


@dataclass(frozen=True)
class Parts:
    """A query's parts, of all queries inside it together."""

    nesting: Counter[str]
    """Set operations by name, and how many queries stand inside."""
    tables: Counter[str]
    joins: frozenset[Columns]
    """Sets of columns that joins equate."""
    outer: Counter[str]
    """Outer joins by side."""
    shapes: Counter[tuple[str, ...]]
    """What each SELECT gives, every column written `_`, sorted: its aggregates and arithmetic."""
    shown: Counter[tuple[str, ...]]
    """What each SELECT gives, in its order."""
    conditions: frozenset[Condition]
    """Of WHERE and ON, without those that equate columns of two tables."""
    ors: int
    distinct: int
    """How many SELECTs leave out rows that are there already."""
    groups: Counter[Columns]
    having: frozenset[Condition]
    orders: Counter[tuple[str, ...]]
    limits: Counter[str]


def query_parts(sql: str, schema: Schema) -> Parts | None:
    """The parts of one query on a database; None where sqlglot reads no query."""
    try:
        tree = sqlglot.parse_one(sql, dialect="sqlite")
        if not isinstance(tree, exp.Query):
            return None
        query = tree.unnest()
        _replace_names(query)
        joins = _name_columns(query, schema)
        _replace_spellings(query)
        return _parts(query, joins)
    except (sqlglot.errors.SqlglotError, RecursionError):
        return None


def _parts(query: exp.Expr, joins: frozenset[Columns]) -> Parts:
    given = [[one.unalias() for one in select.expressions] for select in query.find_all(exp.Select)]
    tests = [where.this for where in query.find_all(exp.Where)]
    tests += [join.args["on"] for join in query.find_all(exp.Join) if join.args.get("on")]
    havings = [having.this for having in query.find_all(exp.Having)]
    members = _members(query)
    tables = [table.name.casefold() for table in query.find_all(exp.Table)]
    return Parts(
        nesting=Counter(filter(None, map(_nesting, query.find_all(*_QUERIES)))),
        tables=Counter(name for name in tables if name not in members),
        joins=joins,
        outer=Counter(join.side for join in query.find_all(exp.Join) if join.side),
        shapes=Counter(tuple(sorted(map(_shape, shown))) for shown in given),
        shown=Counter(tuple(map(_text, shown)) for shown in given),
        conditions=frozenset(one for test in tests for one in _conditions(test)),
        ors=sum(map(_ors, tests)),
        distinct=sum(select.args.get("distinct") is not None for select in query.find_all(exp.Select)),
        groups=Counter(frozenset(map(_text, group.expressions)) for group in query.find_all(exp.Group)),
        having=frozenset(one for test in havings for one in _conditions(test)),
        orders=Counter(tuple(map(_sorting, order.expressions)) for order in query.find_all(exp.Order)),
        limits=Counter(_text(limit) for limit in query.find_all(exp.Limit, exp.Offset)),
    )


# ---- one spelling of a thing ----


def _replace_names(query: exp.Expr) -> None:
    """Puts in the place of an alias or a position what it stands for."""
    for one in list(query.find_all(*_QUERIES)):
        shown = one.selects
        aliases = {x.alias.casefold(): x.this for x in shown if isinstance(x, exp.Alias)}
        for clause in (one.args.get(name) for name in ("group", "having", "order")):
            for column in [] if clause is None else list(clause.find_all(exp.Column)):
                if not column.table and column.name.casefold() in aliases:
                    column.replace(aliases[column.name.casefold()].copy())
            for literal in [] if clause is None else list(clause.find_all(exp.Literal)):
                place = int(literal.this) if literal.is_int else 0
                if isinstance(literal.parent, (exp.Group, exp.Ordered)) and 0 < place <= len(shown):
                    literal.replace(shown[place - 1].unalias().copy())


def _name_columns(query: exp.Expr, schema: Schema) -> frozenset[Columns]:
    """Names each column by its table, takes out of the query what equates two, and returns the sets of equated ones."""
    members = _members(query)
    sources = {id(select): list(_sources(select, members)) for select in query.find_all(exp.Select)}
    for column in list(query.find_all(exp.Column)):
        place = _resolve(column, sources, schema)
        if place is None:
            column.replace(exp.Literal.string(column.name))
        else:
            column.meta["source"], name = place
            column.set("this", exp.to_identifier(name))
            column.set("table", None)
    equated = [_using(join, sources, schema) for join in query.find_all(exp.Join)]
    for equation in list(query.find_all(exp.EQ)):
        sides = (equation.left, equation.right)
        across = len({one.meta.get("source") for one in sides}) == 2
        if all(isinstance(one, exp.Column) for one in sides) and across and _always_holds(equation):
            equated.append(frozenset(one.name for one in sides))
            equation.replace(exp.true())
    joins = _merged(equated)
    first = {name: min(same) for same in joins for name in same}
    for column in query.find_all(exp.Column):
        column.set("this", exp.to_identifier(first.get(column.name, column.name)))
    return joins


def _replace_spellings(query: exp.Expr) -> None:
    """Numbers in one way, a text that reads as a number too: SQLite compares it by the column's type."""
    for literal in list(query.find_all(exp.Literal)):
        if _NUMBER.fullmatch(literal.this):
            text = literal.this.rstrip("0").rstrip(".") if "." in literal.this else literal.this
            literal.replace(exp.Literal.number(text))
    for count in query.find_all(exp.Count):
        if isinstance(count.this, exp.Column):  # count(column) differs from count(*) by NULLs alone
            count.set("this", exp.Star())


# ---- tables and columns ----


def _members(query: exp.Expr) -> set[str]:
    return {cte.alias.casefold() for cte in query.find_all(exp.CTE)}


def _sources(select: exp.Select, members: set[str]) -> Iterator[tuple[str, str | None]]:
    """(alias or name, table) of each source in FROM, in order; a query in FROM has no table."""
    from_ = select.args.get("from_")
    for part in [from_, *(select.args.get("joins") or [])] if from_ else []:
        source = part.this
        named = isinstance(source, exp.Table) and source.name.casefold() not in members
        yield source.alias_or_name.casefold(), source.name if named else None


def _resolve(
    column: exp.Column, sources: dict[int, list[tuple[str, str | None]]], schema: Schema
) -> tuple[str, str] | None:
    """The source that a column is of, and its full name; None where it is a string in double quotes."""
    within = column.find_ancestor(*_QUERIES)
    derived = False
    while within is not None:
        select = _first(within)
        for alias, table in sources.get(id(select), []):
            if column.table and column.table.casefold() != alias:
                continue
            derived = derived or table is None
            known = None if table is None else schema.column(table, column.name)
            if column.table or known is not None:
                name = column.name.casefold()
                return f"{id(select)}.{alias}", name if table is None else f"{table.casefold()}.{name}"
        within = within.find_ancestor(*_QUERIES)
    if column.this.args.get("quoted") and not column.table and not derived:
        return None
    return "", column.name.casefold()


def _using(join: exp.Join, sources: dict[int, list[tuple[str, str | None]]], schema: Schema) -> Columns:
    """The columns that USING makes one."""
    names = [name.name.casefold() for name in join.args.get("using") or []]
    tables = [table for _, table in sources.get(id(join.parent), []) if table is not None]
    return frozenset(f"{t.casefold()}.{name}" for name in names for t in tables if schema.column(t, name))


def _always_holds(equation: exp.Expr) -> bool:
    """Whether a condition stands in WHERE or ON under nothing but AND."""
    above = equation.parent
    while isinstance(above, (exp.And, exp.Paren)):
        above = above.parent
    return isinstance(above, (exp.Where, exp.Join))


def _merged(sets: Iterable[Columns]) -> frozenset[Columns]:
    """Sets that share a member become one."""
    found: list[Columns] = []
    for one in sets:
        touching = [other for other in found if other & one]
        found = [other for other in found if not other & one] + [one.union(*touching)]
    return frozenset(one for one in found if len(one) > 1)


def _first(query: exp.Expr) -> exp.Expr:
    """The SELECT that a set operation begins with, which names its columns."""
    while isinstance(query, (exp.SetOperation, exp.Subquery)):
        query = query.this
    return query


# ---- conditions and texts ----


def _conditions(test: exp.Expr, denied: bool = False) -> Iterator[Condition]:
    """The single comparisons of a test; NOT is carried to each."""
    if isinstance(test, (exp.Paren, exp.Not)):
        yield from _conditions(test.this, denied != isinstance(test, exp.Not))
    elif isinstance(test, exp.Connector):
        yield from _conditions(test.left, denied)
        yield from _conditions(test.right, denied)
    elif isinstance(test, exp.Between):
        yield _comparison(exp.GTE, test.this, test.args["low"], denied)
        yield _comparison(exp.LTE, test.this, test.args["high"], denied)
    elif isinstance(test, exp.In) and test.expressions:
        for value in test.expressions:
            yield _comparison(exp.EQ, test.this, value, denied)
    elif type(test) in _MIRRORED:
        yield _comparison(type(test), test.this, test.expression, denied)
    elif not isinstance(test, exp.Boolean):
        affirmed = test.copy()
        affirmed.set("negate", None)
        operator = f"not {test.key}" if denied != bool(test.args.get("negate")) else test.key
        yield Condition(frozenset(_columns(test)), operator, f"{operator} {_text(affirmed)}")


def _comparison(operator: type[exp.Expr], left: exp.Expr, right: exp.Expr, denied: bool) -> Condition:
    """Columns stand on the left, before others in the order of the alphabet."""
    operator = _DENIED[operator] if denied else operator
    sides = [(not _columns(side), _text(side)) for side in (left, right)]
    if sides[1] < sides[0]:
        operator, sides = _MIRRORED[operator], sides[::-1]
    columns = frozenset((*_columns(left), *_columns(right)))
    return Condition(columns, operator.key, f"{operator.key} {sides[0][1]} {sides[1][1]}")


def _ors(test: exp.Expr, denied: bool = False) -> int:
    """How many ORs stand between the comparisons of a test, where NOT is carried to each."""
    if isinstance(test, (exp.Paren, exp.Not)):
        return _ors(test.this, denied != isinstance(test, exp.Not))
    if isinstance(test, exp.Connector):
        return (isinstance(test, exp.Or) != denied) + _ors(test.left, denied) + _ors(test.right, denied)
    if isinstance(test, exp.In) and test.expressions:
        return 0 if denied else len(test.expressions) - 1
    return int(denied and isinstance(test, exp.Between))


def _columns(node: exp.Expr) -> list[str]:
    """The columns in an expression, not those of a query inside it."""
    return [found.name for found in node.walk(prune=_is_query) if isinstance(found, exp.Column)]


def _sorting(ordered: exp.Expr) -> str:
    return f"{_text(ordered.this)} {'desc' if ordered.args.get('desc') else 'asc'}"


def _shape(node: exp.Expr) -> str:
    if isinstance(node, exp.Star):
        return "_"
    return _text(node.transform(lambda one: exp.Var(this="_") if isinstance(one, exp.Column) else one))


def _text(node: exp.Expr) -> str:
    return node.transform(lambda one: exp.Var(this="a_query") if _is_query(one) else one).sql(
        dialect="sqlite"
    )


def _nesting(query: exp.Expr) -> str | None:
    """A set operation's name, or that this is a query inside another."""
    if isinstance(query, exp.SetOperation):
        return query.key if query.args.get("distinct") else f"{query.key} all"
    above = query.parent
    while isinstance(above, (exp.Subquery, exp.SetOperation)):
        above = above.parent
    return None if above is None else "query"


def _is_query(node: exp.Expr) -> bool:
    return isinstance(node, _QUERIES)
