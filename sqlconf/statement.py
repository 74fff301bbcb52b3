"""A SQL statement's tree, walked once: its nodes by kind, each with the SELECT and the clause that it stands in."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

LONGEST = 10_000
"""Characters; longer SQL is not a person's question answered, and is not read."""

COMPARISONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE)
LIKES = (exp.Like, exp.ILike, exp.Glob)
AGGREGATES = (exp.Count, exp.Sum, exp.Avg, exp.Max, exp.Min)


@dataclass(eq=False)
class Block:
    """One SELECT: what its FROM calls each source, and the block around it."""

    select: exp.Select
    outer: "Block | None" = None
    tables: dict[str, str] = field(default_factory=dict)
    """Alias, folded, to the table's name; to an empty text for a subquery."""

    def table_of(self, alias: str) -> str | None:
        """The table that a column's qualifier stands for; None where nothing is called so."""
        block: Block | None = self
        while block is not None:
            if alias.casefold() in block.tables:
                return block.tables[alias.casefold()]
            block = block.outer
        return None

    def visible(self) -> Iterator[str]:
        """The tables that an unqualified column may belong to, the nearest first."""
        block: Block | None = self
        while block is not None:
            yield from block.tables.values()
            block = block.outer


@dataclass(eq=False)
class Place:
    """A node where it stands: in this clause ("where", "order", ...) of this SELECT."""

    node: Any
    """An `exp.Expr`."""
    block: Block | None
    clause: str


@dataclass(eq=False)
class Statement:
    """A query that was parsed; shared, so not to be changed."""

    tree: exp.Expr
    places: dict[type[exp.Expr], list[Place]]
    ctes: frozenset[str]

    def all(self, *kinds: type[exp.Expr]) -> Iterator[Place]:
        for kind in kinds:
            yield from self.places.get(kind, ())

    def has(self, *kinds: type[exp.Expr]) -> bool:
        return any(self.places.get(kind) for kind in kinds)

    @property
    def projections(self) -> list[exp.Expr]:
        """What the statement gives: the outermost SELECT's expressions, without their aliases."""
        return [item.unalias() for item in outermost(self.tree).expressions]


def outermost(tree: exp.Expr) -> exp.Expr:
    """The SELECT that names the result's columns: of a UNION and its kin the first."""
    while isinstance(tree, exp.SetOperation | exp.Subquery | exp.Paren):
        tree = tree.this
    return tree


@lru_cache(maxsize=512)
def read(sql: str, dialect: str = "sqlite") -> Statement | None:
    """The statement; None where it does not parse, is not one query, or is too long."""
    if len(sql) > LONGEST:
        return None
    try:
        trees = [tree for tree in sqlglot.parse(sql, read=dialect) if tree is not None]
        if len(trees) != 1 or not isinstance(trees[0], exp.Query):
            return None
        return _walk(trees[0])
    except (SqlglotError, RecursionError):
        return None


def _walk(tree: exp.Expr) -> Statement:
    places: dict[type[exp.Expr], list[Place]] = defaultdict(list)
    ctes: set[str] = set()
    todo: list[Place] = [Place(tree, None, "")]
    while todo:
        place = todo.pop()
        node, block = place.node, place.block
        places[type(node)].append(place)
        if isinstance(node, exp.CTE):
            ctes.add(node.alias.casefold())
        if isinstance(node, exp.Select):
            block = Block(node, block)
            for source in sources(node):
                name = source.name if isinstance(source, exp.Table) else ""
                block.tables[source.alias_or_name.casefold()] = name
        query, union = isinstance(node, exp.Query), isinstance(node, exp.SetOperation)
        for key, child in reversed(node.args.items()):
            for part in reversed(child) if isinstance(child, list) else (child,):
                if isinstance(part, exp.Expr):
                    inside = None if union and key not in ("this", "expression") else block
                    todo.append(Place(part, inside, key if query else place.clause))
    return Statement(tree, dict(places), frozenset(ctes))


def sources(select: exp.Select) -> list[exp.Expr]:
    """The tables and subqueries of FROM and its joins."""
    found = [select.args["from_"].this] if select.args.get("from_") else []
    return [*found, *(join.this for join in select.args.get("joins") or ())]


def is_operand(node: exp.Expr) -> bool:
    """Whether it stands in a comparison, a list, a range or a pattern match."""
    return isinstance(node.parent, (*COMPARISONS, *LIKES, exp.In, exp.Between, exp.NullSafeEQ, exp.Is))


def number(node: exp.Expr | None) -> float | None:
    """The number that a literal is, signed; None for anything else."""
    if isinstance(node, exp.Neg | exp.Paren):
        inner = number(node.this)
        return -inner if inner is not None and isinstance(node, exp.Neg) else inner
    if not isinstance(node, exp.Literal) or node.is_string:
        return None
    try:
        return float(node.name)
    except ValueError:
        return None


def column(node: exp.Expr | None) -> exp.Column | None:
    """The column that a value is of, seen through brackets, casts and case folding; None for anything else."""
    while isinstance(node, exp.Paren | exp.Cast | exp.Lower | exp.Upper | exp.Trim):
        node = node.this
    return node if isinstance(node, exp.Column) and not isinstance(node.this, exp.Star) else None
