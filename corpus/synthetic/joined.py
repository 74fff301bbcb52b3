"""Questions over two tables that a key joins, or three through a linking table."""

from collections.abc import Iterable

from corpus.synthetic.condition import column, quoted
from corpus.synthetic.facts import Edge, Entity, Field
from corpus.synthetic.names import many
from corpus.synthetic.pen import Pen
from corpus.synthetic.single import Draft, aggregates, ordering, superlative, threshold


def _known_here(edge: Edge, fields: Iterable[Field]) -> bool:
    """Whether the child's own key tells this already, so that nobody would join."""
    return any(f.name == edge.parent_column for f in fields)


def _edge(pen: Pen, plain: bool = True) -> Edge:
    edges = [
        e for e in pen.facts.edges if e.child.fields and e.parent.fields and not (plain and e.child.link)
    ]
    return pen.rng.choice(edges)


def _join(edge: Edge) -> str:
    """FROM with the child as T1 and the parent as T2."""
    on = f"T1.{quoted(edge.child_column)} = T2.{quoted(edge.parent_column)}"
    return f"FROM {quoted(edge.child.table)} AS T1 JOIN {quoted(edge.parent.table)} AS T2 ON {on}"


def _shown(pen: Pen, entity: Entity, most: int = 2) -> list[Field]:
    return pen.shown(entity, most)


def _names(pen: Pen, entity: Entity) -> list[Field]:
    """What answers "which": the name, or the key of what has none."""
    return list(entity.titles) or ([entity.key] if entity.key else _shown(pen, entity, 1))


def _owners(pen: Pen, edge: Edge) -> tuple[str, str]:
    """A condition on the parent: SQL on T2, and words as "of the airline named Lufthansa"."""
    parent = edge.parent
    condition = pen.condition(parent, [f for f in parent.fields if f.name == edge.parent_column])
    thing = pen.thing(parent)
    if condition.equality and condition.field in parent.titles:
        noun = pen.rng.choice(
            (f"the {thing} {condition.post}",) * 2 + (f"{thing} {_plain(pen, condition.post)}",)
        )
    elif pen.rng.random() < 0.5:
        noun = f"{many(thing)} {condition.post}"
    else:
        noun = f"a~ {thing} {condition.post}"
    return condition.on("T2"), pen.say("of parent", parent=noun)


def _plain(pen: Pen, post: str) -> str:
    """The condition's value alone: "Lufthansa"."""
    marks = [c for c in post if 0xE100 <= ord(c) < 0xF000]
    return marks[-1] if marks else post


def child_where(pen: Pen) -> Draft:
    edge = _edge(pen)
    sql, post = _owners(pen, edge)
    fields = _shown(pen, edge.child)
    slots = {**pen.things(edge.child), **pen.said(fields, edge.child)}
    return pen.say(
        "list", **slots, where=f" {post}"
    ), f"SELECT {pen.columns(fields, 'T1')} {_join(edge)} WHERE {sql}"


def child_count(pen: Pen) -> Draft:
    edge = _edge(pen)
    sql, post = _owners(pen, edge)
    words = pen.say("count", **pen.things(edge.child), where=f" {post}")
    return words, f"SELECT count(*) {_join(edge)} WHERE {sql}"


def child_aggregate(pen: Pen) -> Draft:
    edge = _edge(pen)
    field = pen.rng.choice([f for f in edge.child.of("number") if not f.year])
    sql, post = _owners(pen, edge)
    inner, said = aggregates(pen, edge.child, field, "T1")
    words = pen.say("aggregate", **pen.things(edge.child), aggs=said, where=f" {post}")
    return words, f"SELECT {inner} {_join(edge)} WHERE {sql}"


def parent_where(pen: Pen) -> Draft:
    edge = _edge(pen)
    condition = pen.condition(edge.child)
    fields = _shown(pen, edge.parent)
    post = pen.say(
        "parent with children", children=edge.child.many, child=edge.child.one, post=condition.post
    )
    slots = {**pen.things(edge.parent), **pen.said(fields, edge.parent)}
    distinct = pen.rng.random() < 0.4
    words = pen.say("distinct" if distinct else "list", **slots, where=f" {post}")
    shown = f"SELECT {'DISTINCT ' if distinct else ''}{pen.columns(fields, 'T2')}"
    return words, f"{shown} {_join(edge)} WHERE {condition.on('T1')}"


def _family(pen: Pen, edge: Edge, fields: list[Field]) -> dict[str, str]:
    parent = pen.thing(edge.parent)
    slots = {"parent": parent, "parents": many(parent), "child": edge.child.one, "children": edge.child.many}
    return {**slots, **pen.said(fields, edge.parent)}


def children_per_parent(pen: Pen) -> Draft:
    edge = _edge(pen)
    fields = _names(pen, edge.parent)
    if _known_here(edge, fields):
        raise IndexError("nothing of the parent that the child does not have")
    words = pen.say("children per parent", **_family(pen, edge, fields))
    shown = pen.columns(fields, "T2")
    return words, f"SELECT {shown}, count(*) {_join(edge)} GROUP BY T2.{quoted(edge.parent_column)}"


def most_children(pen: Pen) -> Draft:
    edge = _edge(pen)
    most = pen.rng.random() < 0.75
    fields = _shown(pen, edge.parent) if pen.rng.random() < 0.4 else _names(pen, edge.parent)
    words = pen.say("most children" if most else "fewest children", **_family(pen, edge, fields))
    if words.startswith("which ") and fields != _names(pen, edge.parent):
        words += f"? give its {pen.said(fields, edge.parent)['col']}"
    order = "DESC" if most else "ASC"
    group = f"GROUP BY T2.{quoted(edge.parent_column)} ORDER BY count(*) {order} LIMIT 1"
    return words, f"SELECT {pen.columns(fields, 'T2')} {_join(edge)} {group}"


def parents_with_n(pen: Pen) -> Draft:
    edge = _edge(pen)
    fields = _names(pen, edge.parent)
    n, compared = threshold(pen)
    slots = _family(pen, edge, fields)
    if compared == "> 1":
        slots["children"] = slots["child"]
    words = pen.say("parents with n", **slots, n=n)
    group = f"GROUP BY T2.{quoted(edge.parent_column)} HAVING count(*) {compared}"
    return words, f"SELECT {pen.columns(fields, 'T2')} {_join(edge)} {group}"


def no_children(pen: Pen) -> Draft:
    edge = _edge(pen, plain=pen.rng.random() < 0.8)
    fields = _names(pen, edge.parent)
    slots = _family(pen, edge, fields)
    inner = f"SELECT {quoted(edge.child_column)} FROM {quoted(edge.child.table)}"
    if pen.rng.random() < 0.35:
        condition = pen.condition(edge.child)
        inner += f" WHERE {condition.on()}"
        slots["children"] += f" {condition.post}"
    rest = f"FROM {quoted(edge.parent.table)} WHERE {quoted(edge.parent_column)} NOT IN ({inner})"
    if pen.rng.random() < 0.25:
        return pen.say("how many without", **slots), f"SELECT count(*) {rest}"
    return pen.say("no children", **slots), f"SELECT {pen.columns(fields)} {rest}"


def paired(pen: Pen) -> Draft:
    edge = _edge(pen)
    mine, theirs = _shown(pen, edge.child, 1)[:1], _shown(pen, edge.parent, 1)[:1]
    if _known_here(edge, theirs):
        raise IndexError("nothing of the parent that the child does not have")
    other = pen.said(theirs, edge.parent)
    slots = _family(pen, edge, theirs) | pen.said(mine, edge.child)
    words = pen.say("paired", **slots, othercol=other["col"], othercols=other["colss"])
    sql = f"SELECT {pen.columns(mine, 'T1')}, {pen.columns(theirs, 'T2')} {_join(edge)}"
    if pen.rng.random() < 0.25:
        key = pen.rng.choice(edge.child.of("number", "date"))
        order, direction = ordering(pen, key, f"{edge.child.one} {key.said}")
        return f"{words}, {order}", f"{sql} ORDER BY {column(key, 'T1')}{direction}"
    return words, sql


def parent_of_extreme(pen: Pen) -> Draft:
    edge = _edge(pen)
    key = pen.rng.choice(edge.child.of("number", "date"))
    high = pen.rng.random() < 0.65
    fields = _shown(pen, edge.parent)
    best, _, adjective = superlative(pen, edge.child, key, high)
    noun = f"the {adjective} {edge.child.one}" if adjective else f"the {edge.child.one} {best}"
    link = pen.rng.choice(("of", "that has", "for", "with"))
    slots = {**pen.things(edge.parent), **pen.said(fields, edge.parent)}
    words = pen.say("extreme", **slots, best=f"{link} {noun}")
    order = f"ORDER BY {column(key, 'T1')} {'DESC' if high else 'ASC'} LIMIT 1"
    return words, f"SELECT {pen.columns(fields, 'T2')} {_join(edge)} {order}"


def aggregate_per_parent(pen: Pen) -> Draft:
    edge = _edge(pen)
    field = pen.rng.choice([f for f in edge.child.of("number") if not f.year])
    groups = [*edge.parent.titles[:1], *(f for f in edge.parent.of("category") if f.repeats)]
    key = pen.rng.choice(groups)
    inner, said = aggregates(pen, edge.child, field, "T1")
    named = f"{edge.parent.one} {key.said}"
    titled = key in edge.parent.titles
    if titled and pen.rng.random() < 0.4:
        named = edge.parent.one
    slots = {**pen.things(edge.child), "key": named, "keys": many(named), "aggs": said}
    first = pen.rng.random() < 0.5
    words = pen.say("group key aggregate" if first else "group aggregate", **slots)
    by = f"T2.{quoted(edge.parent_column)}" if titled else column(key, "T2")
    return words, f"SELECT {column(key, 'T2')}, {inner} {_join(edge)} GROUP BY {by}"


def count_by_attribute(pen: Pen) -> Draft:
    edge = _edge(pen)
    key = pen.rng.choice([f for f in edge.parent.of("category") if f.repeats])
    named = f"{edge.parent.one} {key.said}"
    slots = {**pen.things(edge.child), "key": named, "keys": many(named)}
    words = pen.say(pen.rng.choice(("group count", "group key count")), **slots)
    return words, f"SELECT {column(key, 'T2')}, count(*) {_join(edge)} GROUP BY {column(key, 'T2')}"


def both_children(pen: Pen) -> Draft:
    edge = _edge(pen)
    field = pen.rng.choice(
        [f for f in edge.child.of("category", "number") if f.repeats and len(f.values) > 1]
    )
    one = pen.condition_on(field, edge.child, ("=", ">"))
    two = pen.condition_on(field, edge.child, ("=", "<"))
    if one.sql == two.sql:
        two = pen.condition(edge.child, [field])
    fields = _names(pen, edge.parent)
    key = {"col": edge.parent.one, "keys": edge.parent.many}
    rule, operator = ("both", "INTERSECT") if pen.rng.random() < 0.6 else ("but not", "EXCEPT")
    if pen.rng.random() < 0.5:
        key["keys"] = f"{pen.said(fields, edge.parent)['colss']} of {edge.parent.many}"
    words = pen.say(rule, **key, **pen.things(edge.child), post=one.post, other=two.post)
    start = f"SELECT {pen.columns(fields, 'T2')} {_join(edge)} WHERE"
    return words, f"{start} {one.on('T1')} {operator} {start} {two.on('T1')}"


def _bridge(pen: Pen) -> tuple[Edge, Edge, str]:
    """Two keys of one linking table, and FROM with their parents as T1 and T3."""
    mine, theirs = pen.rng.choice([b for b in pen.facts.bridges if b[0].child.link or pen.rng.random() < 0.3])
    link = quoted(mine.child.table)
    sql = (
        f"FROM {quoted(mine.parent.table)} AS T1 JOIN {link} AS T2"
        f" ON T1.{quoted(mine.parent_column)} = T2.{quoted(mine.child_column)}"
        f" JOIN {quoted(theirs.parent.table)} AS T3"
        f" ON T2.{quoted(theirs.child_column)} = T3.{quoted(theirs.parent_column)}"
    )
    return mine, theirs, sql


def linked_where(pen: Pen) -> Draft:
    mine, theirs, from_ = _bridge(pen)
    condition = pen.condition(theirs.parent)
    thing = theirs.parent.one
    noun = f"{many(thing)} {condition.post}"
    if condition.equality and condition.field in theirs.parent.titles:
        noun = f"the {thing} {condition.post}"
    post = pen.say("of parent", parent=noun)
    if pen.rng.random() < 0.35:
        post = f"that have {noun}"
    slots = pen.things(mine.parent)
    if pen.rng.random() < 0.25:
        words = pen.say("count", **slots, where=f" {post}")
        return words, f"SELECT count(*) {from_} WHERE {condition.on('T3')}"
    fields = _shown(pen, mine.parent)
    words = pen.say("list", **slots, **pen.said(fields, mine.parent), where=f" {post}")
    return words, f"SELECT {pen.columns(fields, 'T1')} {from_} WHERE {condition.on('T3')}"


def linked_count(pen: Pen) -> Draft:
    mine, theirs, _ = _bridge(pen)
    parent = mine.parent
    fields = _names(pen, parent)
    slots = {"parent": parent.one, "parents": parent.many, "child": theirs.parent.one}
    slots |= {"children": theirs.parent.many, **pen.said(fields, parent)}
    start = (
        f"FROM {quoted(mine.child.table)} AS T1 JOIN {quoted(parent.table)} AS T2"
        f" ON T1.{quoted(mine.child_column)} = T2.{quoted(mine.parent_column)}"
        f" GROUP BY T2.{quoted(mine.parent_column)}"
    )
    shown = pen.columns(fields, "T2")
    roll = pen.rng.random()
    if roll < 0.4:
        return pen.say("children per parent", **slots), f"SELECT {shown}, count(*) {start}"
    if roll < 0.7:
        words = pen.say("most children", **slots)
        return words, f"SELECT {shown} {start} ORDER BY count(*) DESC LIMIT 1"
    n, compared = threshold(pen)
    if compared == "> 1":
        slots["children"] = slots["child"]
    return pen.say("parents with n", **slots, n=n), f"SELECT {shown} {start} HAVING count(*) {compared}"
