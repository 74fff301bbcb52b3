"""Whether a statement's tables meet where the schema says that they do."""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from sqlglot import exp

from sqlconf.catalogue import Catalogue, Owned
from sqlconf.finding import Finding
from sqlconf.statement import AGGREGATES, COMPARISONS, Place, Statement, column, outermost, sources

Owners = dict[int, Owned]
"""Where each column node of a statement belongs, by the node's id; without those that no table has."""


def owners_of(s: Statement, catalogue: Catalogue, texts: Mapping[int, str]) -> Owners:
    return {
        id(place.node): owned
        for place in s.all(exp.Column)
        if id(place.node) not in texts and (owned := catalogue.owner(place.node, place.block)) is not None
    }


def owner(node: exp.Expr | None, owners: Owners) -> Owned | None:
    """Where the column that a value is of belongs."""
    return owners.get(id(column(node)))


def name_findings(
    s: Statement, catalogue: Catalogue, owners: Owners, texts: Mapping[int, str]
) -> Iterator[Finding]:
    """Tables and columns that the schema does not have."""
    for place in s.all(exp.Table):
        name = place.node.name.casefold()
        if isinstance(place.node.this, exp.Identifier) and name not in catalogue.tables.keys() | s.ctes:
            yield Finding("no such name", f"there is no table {place.node.name}")
    aliases = {place.node.alias.casefold() for place in s.all(exp.Alias)} | {"rowid"}
    for place in s.all(exp.Column):
        node = place.node
        known = id(node) in owners or id(node) in texts or node.name.casefold() in aliases
        if (
            place.block is not None
            and not known
            and not isinstance(node.this, exp.Star)
            and not node.this.args.get("quoted")
        ):
            yield Finding("no such name", f"there is no column {node.sql()}")


def join_findings(s: Statement, catalogue: Catalogue, owners: Owners) -> Iterator[Finding]:
    met: dict[int, list[exp.Expr]] = defaultdict(list)
    for place in s.all(*COMPARISONS):
        a, b = column(place.node.this), column(place.node.expression)
        if a is None or b is None or place.block is None or place.clause not in ("joins", "where"):
            continue
        mine, theirs = owner(a, owners), owner(b, owners)
        apart = a.table.casefold() != b.table.casefold() or mine != theirs
        keys = mine is not None and theirs is not None and catalogue.is_key(mine) and catalogue.is_key(theirs)
        if apart and (isinstance(place.node, exp.EQ) or not keys):
            met[id(place.block.select)].append(place.node)
    for place in s.all(exp.Select):
        pairs, tables = met[id(place.node)], sources(place.node)
        implied = [
            join
            for join in place.node.args.get("joins") or ()
            if join.args.get("using") or join.args.get("method")
        ]
        if len(pairs) + len(implied) < len(tables) - 1:
            yield Finding("cross join", f"{tables[-1].alias_or_name} is joined without a condition")
        for pair in pairs:
            if isinstance(pair, exp.EQ):
                yield from _key_findings(pair, catalogue, owners)
        yield from _idle_findings(s, place.node, catalogue, owners)


def _key_findings(pair: exp.EQ, catalogue: Catalogue, owners: Owners) -> Iterator[Finding]:
    a, b = (owner(side, owners) for side in (pair.this, pair.expression))
    if a is None or b is None or not a[0] or not b[0] or a[0] == b[0] or catalogue.related(a, b):
        return
    if not catalogue.akin(a, b):
        yield Finding("no key", f"{pair.sql()} joins along no key")
    elif catalogue.kind(a) != catalogue.kind(b):
        yield Finding("no key", f"{pair.sql()} joins columns of different types")


def _idle_findings(
    s: Statement, select: exp.Select, catalogue: Catalogue, owners: Owners
) -> Iterator[Finding]:
    """A table joined by its own key, of which nothing else is used, neither filters nor adds."""
    if any(item.is_star and not isinstance(item, exp.Count) for item in select.expressions):
        return
    ties: dict[str, list[exp.Column]] = defaultdict(list)
    for place in s.all(exp.Column):
        if place.block is not None and place.block.select is select:
            ties[place.node.table.casefold()].append(place.node)
    for source in sources(select) if "" not in ties else ():
        own = ties[source.alias_or_name.casefold()]
        if len(own) == 1 and isinstance(own[0].parent, exp.EQ) and own[0].find_ancestor(exp.Join, exp.Where):
            sides = (own[0].parent.this, own[0].parent.expression)
            other = owner(sides[1] if sides[0] is own[0] else sides[0], owners)
            if other is not None and catalogue.refers.get(other) == owners.get(id(own[0])):
                yield Finding("idle join", f"{source.name} is joined and not used")


def set_findings(s: Statement, catalogue: Catalogue, owners: Owners) -> Iterator[Finding]:
    """IN, UNION and their kin put columns beside each other that should mean the same."""
    for place in s.all(exp.In):
        query = place.node.args.get("query")
        inner = outermost(query) if query is not None else None
        if isinstance(inner, exp.Select) and len(inner.expressions) == 1:
            yield from _beside(place.node.this, inner.expressions[0].unalias(), catalogue, owners)
            yield from _in_itself(place, inner, owners)
    for place in s.all(exp.Union, exp.Intersect, exp.Except):
        left, right = outermost(place.node.this), outermost(place.node.expression)
        if isinstance(left, exp.Select) and isinstance(right, exp.Select):
            for a, b in zip(left.expressions, right.expressions, strict=False):
                yield from _beside(a.unalias(), b.unalias(), catalogue, owners)
    for place in s.all(exp.Subquery):
        node, inner = place.node.parent, place.node.this
        if (
            not isinstance(node, COMPARISONS)
            or not isinstance(inner, exp.Select)
            or len(inner.expressions) != 1
        ):
            continue
        item = inner.expressions[0].unalias()
        if not isinstance(item, exp.Count):
            other = node.expression if node.this is place.node else node.this
            yield from _beside(other, item.this if isinstance(item, AGGREGATES) else item, catalogue, owners)


def _beside(a: exp.Expr, b: exp.Expr, catalogue: Catalogue, owners: Owners) -> Iterator[Finding]:
    one, other = owner(a, owners), owner(b, owners)
    if one is None or other is None or not one[0] or not other[0]:
        return
    if not catalogue.related(one, other) and not catalogue.akin(one, other):
        yield Finding("unlike columns", f"{a.sql()} is put beside {b.sql()}")


def _in_itself(place: Place, inner: exp.Select, owners: Owners) -> Iterator[Finding]:
    own = owner(place.node.this, owners)
    if own is None or own != owner(inner.expressions[0].unalias(), owners):
        return
    if not any(inner.args.get(clause) for clause in ("where", "group", "joins", "limit", "having")):
        yield Finding("always so", f"{place.node.this.sql()} is looked for among itself")
