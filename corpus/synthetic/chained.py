"""Questions over three tables in a chain of keys, and rankings of parents by sums over what belongs to them."""

from corpus.synthetic.condition import column, quoted
from corpus.synthetic.kin import chain, family, numbers_of, titles_of
from corpus.synthetic.pen import Pen
from corpus.synthetic.single import Draft, threshold
from corpus.synthetic.wording import expand


def ranked(pen: Pen) -> Draft:
    """Parents by a sum, an average or a number of their children, the first or the first few."""
    child, parent, from_, alias, key = family(pen)
    fields = titles_of(parent)
    numbers = numbers_of(child)
    if numbers and pen.rng.random() < 0.6:
        field = pen.rng.choice(numbers)
        function = pen.rng.choice(("sum", "sum", "avg"))
        measure = f"{expand(pen.rng, function)} {pen.called(field, child)}"
        if pen.rng.random() < 0.6:
            measure += f" of {child.many}"
        measured = f"{function}({column(field, 'T1')})"
    else:
        measure, measured = f"number of {child.many}", "count(*)"
    high = pen.rng.random() < 0.8
    n = pen.rng.choice((1, 1, 1, 1, 2, 3, 3, 5, 5, 10))
    slots = {
        "parent": parent.one,
        "parents": parent.many,
        "measure": measure,
        "high": expand(pen.rng, "high" if high else "low"),
        "n": pen.counted(n),
        **pen.said(fields, parent),
    }
    shown = pen.columns(fields, alias)
    rule = "ranked" if n == 1 else "ranked n"
    if high and measured.startswith("sum") and _MONEY & set(field.said.split()) and pen.rng.random() < 0.5:
        rule = "money" if n == 1 else "money n"
    elif pen.rng.random() < 0.2:
        shown, rule = f"{shown}, {measured}", f"{rule} with"
    order = f"GROUP BY {key} ORDER BY {measured} {'DESC' if high else 'ASC'} LIMIT {n}"
    return pen.say(rule, **slots), f"SELECT {shown} {from_} {order}"


def summed(pen: Pen) -> Draft:
    """A sum or an average for each parent or grandparent, or those where it is beyond a number."""
    child, parent, from_, alias, key = family(pen)
    field = pen.rng.choice([f for f in numbers_of(child) if f.values])
    function = pen.rng.choice(("sum", "sum", "avg"))
    measure = f"{expand(pen.rng, function)} {pen.called(field, child)}"
    if pen.rng.random() < 0.5:
        measure += f" of {child.many}"
    measured = f"{function}({column(field, 'T1')})"
    titles = titles_of(parent)
    slots = {"parent": parent.one, "parents": parent.many, "measure": measure, **pen.said(titles, parent)}
    start = f"SELECT {pen.columns(titles, alias)}"
    if pen.rng.random() < 0.35:
        most = max(float(v) for v in field.values if isinstance(v, int | float))
        n = int(most * pen.rng.choice((1, 1, 2, 3)) if function == "sum" else most / 2) or 1
        n = int(float(f"{n:.1g}"))
        high = pen.rng.random() < 0.75
        slots["op"] = expand(pen.rng, "over" if high else "under")
        slots["v"] = pen.value(pen.number(n))
        words = pen.say("summed beyond", **slots)
        return words, f"{start} {from_} GROUP BY {key} HAVING {measured} {'>' if high else '<'} {n}"
    words = pen.say("summed", **slots)
    ordered = ""
    if pen.rng.random() < 0.2:
        words += pen.rng.choice((", highest first", ", from highest to lowest", ", largest first"))
        ordered = f" ORDER BY {measured} DESC"
    return words, f"{start}, {measured} {from_} GROUP BY {key}{ordered}"


def grandchildren(pen: Pen) -> Draft:
    """Things by a condition on their parent's parent: listed or counted."""
    low, up, from_ = chain(pen)
    condition = pen.condition(up.parent)
    noun = f"{up.parent.many} {condition.post}"
    if condition.equality and condition.field in up.parent.titles:
        noun = f"the {up.parent.one} {condition.post}"
    post = pen.say("of parent", parent=noun)
    slots = pen.things(low.child)
    if pen.rng.random() < 0.4:
        words = pen.say("count", **slots, where=f" {post}")
        return words, f"SELECT count(*) {from_} WHERE {condition.on('T3')}"
    fields = pen.shown(low.child, 2)
    words = pen.say("list", **slots, **pen.said(fields, low.child), where=f" {post}")
    return words, f"SELECT {pen.columns(fields, 'T1')} {from_} WHERE {condition.on('T3')}"


def grandparents(pen: Pen) -> Draft:
    """Things by a condition on what belongs to what belongs to them, or by how many of those there are."""
    low, up, from_ = chain(pen)
    fields = titles_of(up.parent)
    slots = {**pen.things(up.parent), **pen.said(fields, up.parent)}
    shown = pen.columns(fields, "T3")
    if pen.rng.random() < 0.4:
        n, compared = threshold(pen)
        children = low.child.one if compared == "> 1" else low.child.many
        words = pen.say(
            "parents with n", parents=up.parent.many, children=children, n=n, **pen.said(fields, up.parent)
        )
        return (
            words,
            f"SELECT {shown} {from_} GROUP BY T3.{quoted(up.parent_column)} HAVING count(*) {compared}",
        )
    condition = pen.condition(low.child)
    post = pen.say("parent with children", children=low.child.many, child=low.child.one, post=condition.post)
    words = pen.say("list", **slots, where=f" {post}")
    return words, f"SELECT DISTINCT {shown} {from_} WHERE {condition.on('T1')}"


_MONEY = frozenset(["total", "amount", "price", "cost", "paid", "payment", "spent", "fee", "charge", "value"])
_PRICES = frozenset(["price", "cost", "fee", "rate", "fare"])
_AMOUNTS = frozenset(["quantity", "amount", "units", "count", "copies", "pieces", "tickets"])


def revenue(pen: Pen) -> Draft:
    """Price times quantity, summed: in all, or for each parent."""
    fit = []
    for entity in pen.facts.entities:
        prices = [f for f in entity.of("number") if f.said.split()[-1] in _PRICES]
        amounts = [f for f in entity.of("number") if _AMOUNTS & set(f.said.split())]
        fit += [(entity, p, a) for p in prices[:1] for a in amounts[:1] if p is not a]
    entity, price, amount = pen.rng.choice(fit)
    named = pen.rng.choice(("revenue", "total revenue", "total sales", "sales", "total value", "turnover"))
    edges = [e for e in pen.facts.edges if e.child.table == entity.table and e.parent.titles]
    if not edges or pen.rng.random() < 0.3:
        words = pen.say("revenue", measure=named, things=entity.many)
        return words, f"SELECT sum({column(price)} * {column(amount)}) FROM {quoted(entity.table)}"
    edge = pen.rng.choice(edges)
    on = f"T1.{quoted(edge.child_column)} = T2.{quoted(edge.parent_column)}"
    from_ = f"FROM {quoted(entity.table)} AS T1 JOIN {quoted(edge.parent.table)} AS T2 ON {on}"
    measured = f"sum({column(price, 'T1')} * {column(amount, 'T1')})"
    titles = list(edge.parent.titles)
    slots = {
        "parent": edge.parent.one,
        "parents": edge.parent.many,
        "measure": named,
        **pen.said(titles, edge.parent),
    }
    start, by = f"SELECT {pen.columns(titles, 'T2')}", f"GROUP BY T2.{quoted(edge.parent_column)}"
    if pen.rng.random() < 0.5:
        n = pen.rng.choice((1, 1, 3, 5, 10))
        slots |= {"high": expand(pen.rng, "high"), "n": pen.counted(n)}
        words = pen.say("ranked" if n == 1 else "ranked n", **slots)
        return words, f"{start} {from_} {by} ORDER BY {measured} DESC LIMIT {n}"
    return pen.say("summed", **slots), f"{start}, {measured} {from_} {by}"
