"""Who belongs to whom over one key or two, as SQL's FROM, and what tells one of them."""

from corpus.synthetic.condition import quoted
from corpus.synthetic.facts import Edge, Entity, Field
from corpus.synthetic.pen import Pen


def numbers_of(entity: Entity) -> list[Field]:
    return [f for f in entity.of("number") if not f.year]


def titles_of(entity: Entity) -> list[Field]:
    if not entity.titles:
        raise IndexError("nothing that tells which")
    return list(entity.titles)


def chain(pen: Pen) -> tuple[Edge, Edge, str]:
    """Two keys in a row, and FROM with child, middle and top as T1, T2 and T3."""
    pairs = [
        (a, b)
        for a in pen.facts.edges
        for b in pen.facts.edges
        if a.parent.table == b.child.table and b.parent.table not in (a.child.table, a.parent.table)
    ]
    low, up = pen.rng.choice(pairs)
    ends = (low.child.table, up.parent.table)
    if sum((a.child.table, b.parent.table) == ends for a, b in pairs) > 1:
        raise IndexError("two ways lead there, of which nothing tells")
    if any(e.child.table == low.child.table and e.parent.table == up.parent.table for e in pen.facts.edges):
        raise IndexError("the child has a key of the top itself, which would be meant")
    from_ = (
        f"FROM {quoted(low.child.table)} AS T1 JOIN {quoted(low.parent.table)} AS T2"
        f" ON T1.{quoted(low.child_column)} = T2.{quoted(low.parent_column)}"
        f" JOIN {quoted(up.parent.table)} AS T3"
        f" ON T2.{quoted(up.child_column)} = T3.{quoted(up.parent_column)}"
    )
    return low, up, from_


def family(pen: Pen) -> tuple[Entity, Entity, str, str, str]:
    """A child and a parent, or a grandparent: both, FROM, the parent's alias and its key in the SQL. The child is T1."""
    if pen.rng.random() < 0.45:
        low, up, from_ = chain(pen)
        return low.child, up.parent, from_, "T3", f"T3.{quoted(up.parent_column)}"
    edge = pen.rng.choice([e for e in pen.facts.edges if e.child.fields and e.parent.fields])
    on = f"T1.{quoted(edge.child_column)} = T2.{quoted(edge.parent_column)}"
    from_ = f"FROM {quoted(edge.child.table)} AS T1 JOIN {quoted(edge.parent.table)} AS T2 ON {on}"
    return edge.child, edge.parent, from_, "T2", f"T2.{quoted(edge.parent_column)}"
