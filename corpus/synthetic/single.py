"""Questions on one table: select, filter, count, aggregate, order, group."""

from corpus.synthetic.condition import column, quoted
from corpus.synthetic.facts import Entity, Field
from corpus.synthetic.names import many
from corpus.synthetic.pen import Pen, listed
from corpus.synthetic.wording import expand

Draft = tuple[str, str]
"""Question in words, and SQL."""


def _numbers(entity: Entity) -> list[Field]:
    return [f for f in entity.of("number") if not f.year]


def _groups(entity: Entity) -> list[Field]:
    found = [f for f in entity.fields if f.repeats and (f.role == "category" or f.year)]
    return found or list(entity.of("category"))


def _with_names(
    pen: Pen, entity: Entity, fields: list[Field], rule: str, slots: dict[str, str]
) -> tuple[str, dict[str, str]]:
    """Names and more, asked for as the things and their more."""
    titles = entity.titles
    if (
        titles
        and tuple(fields[: len(titles)]) == titles
        and len(fields) > len(titles)
        and pen.rng.random() < 0.45
    ):
        return "list with", slots | pen.said(fields[len(titles) :], entity)
    return rule, slots


def select(pen: Pen) -> Draft:
    entity = pen.entity()
    fields = pen.shown(entity)
    where, post = pen.maybe_where(entity, 0.25, besides=fields)
    slots = {**pen.things(entity), **pen.said(fields, entity), "where": post}
    titled = tuple(fields) == entity.titles and len(fields) == 1 and fields[0].said == "name"
    rule = "list titled" if titled and pen.rng.random() < 0.4 else "list"
    rule, slots = _with_names(pen, entity, fields, rule, slots)
    return pen.say(rule, **slots), f"SELECT {pen.columns(fields)} FROM {quoted(entity.table)}{where}"


def select_where(pen: Pen) -> Draft:
    entity = pen.entity(lambda e: any(f.values for f in e.fields))
    fields = pen.shown(entity)
    where, post = pen.where(entity, besides=fields)
    slots = {**pen.things(entity), **pen.said(fields, entity), "where": f" {post}", "post": post}
    rule = "list"
    if tuple(fields) == entity.titles and pen.rng.random() < 0.75:
        rule = "who" if entity.person and pen.rng.random() < 0.4 else "which"
    rule, slots = _with_names(pen, entity, fields, rule, slots)
    return pen.say(rule, **slots), f"SELECT {pen.columns(fields)} FROM {quoted(entity.table)}{where}"


def distinct(pen: Pen) -> Draft:
    entity = pen.entity(lambda e: e.of("category", "text"))
    field = pen.rng.choice(_groups(entity) or entity.of("text"))
    where, post = pen.maybe_where(entity, 0.35, besides=[field])
    slots = {**pen.things(entity), **pen.said([field], entity), "where": post}
    return pen.say("distinct", **slots), f"SELECT DISTINCT {column(field)} FROM {quoted(entity.table)}{where}"


def everything(pen: Pen) -> Draft:
    entity = pen.entity()
    where, post = pen.maybe_where(entity, 0.7)
    return (
        pen.say("everything", **pen.things(entity), where=post),
        f"SELECT * FROM {quoted(entity.table)}{where}",
    )


def count(pen: Pen) -> Draft:
    entity = pen.entity()
    return pen.say("count", **pen.things(entity)), f"SELECT count(*) FROM {quoted(entity.table)}"


def count_where(pen: Pen) -> Draft:
    entity = pen.entity()
    where, post = pen.where(entity)
    words = pen.say("count where", **pen.things(entity), post=post)
    return words, f"SELECT count(*) FROM {quoted(entity.table)}{where}"


def count_distinct(pen: Pen) -> Draft:
    entity = pen.entity(lambda e: e.of("category", "text"))
    field = pen.rng.choice(_groups(entity) or entity.of("text"))
    where, post = pen.maybe_where(entity, 0.3, besides=[field])
    words = pen.say("count distinct", **pen.things(entity), **pen.said([field], entity), where=post)
    return words, f"SELECT count(DISTINCT {column(field)}) FROM {quoted(entity.table)}{where}"


def aggregates(pen: Pen, entity: Entity, field: Field, alias: str = "") -> tuple[str, str]:
    """One to three aggregates of a number: SQL and words."""
    size = pen.rng.choice((1, 1, 1, 1, 2, 2, 3))
    functions = pen.rng.sample(
        ("avg", "avg", "max", "min", "sum") if size == 1 else ("avg", "max", "min"), size
    )
    col = pen.called(field, entity)
    said = [expand(pen.rng, f) for f in functions]
    sql = ", ".join(f"{f}({column(field, alias)})" for f in functions)
    if size > 1 and pen.rng.random() < 0.75:
        return sql, f"{listed(said)} {col}"
    return sql, listed([f"{s} {col}" for s in said])


def aggregate(pen: Pen) -> Draft:
    entity = pen.entity(_numbers)
    field = pen.rng.choice(_numbers(entity))
    where, post = pen.maybe_where(entity, 0.55, besides=[field])
    slots = {**pen.things(entity), "where": post}
    if pen.rng.random() < 0.12:
        function = pen.rng.choice(("avg", "sum"))
        rule = "average of" if function == "avg" else "sum of"
        words = pen.say(rule, **slots, **pen.said([field], entity))
        return words, f"SELECT {function}({column(field)}) FROM {quoted(entity.table)}{where}"
    sql, said = aggregates(pen, entity, field)
    return pen.say("aggregate", **slots, aggs=said), f"SELECT {sql} FROM {quoted(entity.table)}{where}"


def ordering(pen: Pen, key: Field, named: str) -> tuple[str, str]:
    """Words of an order and its SQL direction."""
    down = pen.rng.random() < 0.45
    kind = " time" if key.year or key.role == "date" else "" if key.role == "number" else " text"
    words = pen.say(f"{'desc' if down else 'asc'}{kind}", key=named)
    return words, " DESC" if down else pen.rng.choice(("", "", " ASC"))


def order(pen: Pen) -> Draft:
    entity = pen.entity(lambda e: e.of("number", "date", "category", "name"))
    key = pen.rng.choice(entity.of("number", "date") * 3 + entity.of("category", "name"))
    fields = pen.shown(entity, besides=() if pen.rng.random() < 0.2 else (key,))
    where, post = pen.maybe_where(entity, 0.25, besides=[key, *fields])
    words, direction = ordering(pen, key, pen.called(key, entity))
    slots = {**pen.things(entity), **pen.said(fields, entity), "where": post, "order": words}
    bare = (
        words.removeprefix("sorted ")
        .removeprefix("ordered ")
        .removeprefix("arranged ")
        .removeprefix("ranked ")
    )
    said = pen.say("order", **slots, bare=bare)
    return (
        said,
        f"SELECT {pen.columns(fields)} FROM {quoted(entity.table)}{where} ORDER BY {column(key)}{direction}",
    )


def superlative(pen: Pen, entity: Entity, key: Field, high: bool) -> tuple[str, str, str]:
    """Words for the most or least of a number: "with the highest age", "highest age", and an adjective or nothing."""
    kind = " time" if key.year or key.role == "date" else ""
    named = pen.called(key, entity)
    top = f"{expand(pen.rng, ('high' if high else 'low') + kind)} {named}"
    best = pen.rng.choice(("with the ", "with the ", "that has the ", "having the ")) + top
    return best, top, pen.adjective(key, entity, high)


def extreme(pen: Pen) -> Draft:
    entity = pen.entity(lambda e: e.of("number", "date"))
    key = pen.rng.choice(entity.of("number", "date"))
    high = pen.rng.random() < 0.6
    fields = pen.shown(entity, 2, besides=[key])
    fields = [f for f in fields if f is not key]
    where, post = pen.maybe_where(entity, 0.2, besides=[key])
    best, top, adjective = superlative(pen, entity, key, high)
    rule = "extreme adjective" if adjective and pen.rng.random() < 0.7 else "extreme"
    if tuple(fields) == entity.titles and len(fields) == 1 and pen.rng.random() < 0.6:
        rule += " titled"
    slots = {**pen.things(entity), **pen.said(fields, entity), "where": post}
    if not where and pen.rng.random() < 0.15:
        function = "max" if high else "min"
        inner = f"(SELECT {function}({column(key)}) FROM {quoted(entity.table)})"
        best = best.replace("that has", "that have")
        words = pen.say("list", **slots | {"where": f" {best}"})
        return (
            words,
            f"SELECT {pen.columns(fields)} FROM {quoted(entity.table)} WHERE {column(key)} = {inner}",
        )
    words = pen.say(rule, **slots, best=best, top=top, adj=adjective)
    direction = "DESC" if high else "ASC"
    sql = f"SELECT {pen.columns(fields)} FROM {quoted(entity.table)}{where} ORDER BY {column(key)} {direction} LIMIT 1"
    return words, sql


def top_n(pen: Pen) -> Draft:
    entity = pen.entity(lambda e: e.of("number", "date"))
    key = pen.rng.choice(entity.of("number", "date"))
    high, n = pen.rng.random() < 0.7, pen.rng.choice((2, 3, 3, 3, 4, 5, 5, 6, 7, 8, 10))
    fields = [f for f in pen.shown(entity, 2, besides=[key]) if f is not key]
    where, post = pen.maybe_where(entity, 0.15, besides=[key])
    _, top, adjective = superlative(pen, entity, key, high)
    words = pen.say(
        "top n adjective" if adjective and pen.rng.random() < 0.7 else "top n",
        **pen.things(entity),
        **pen.said(fields, entity),
        where=post,
        top=many(top),
        adj=adjective,
        n=pen.counted(n),
        key=key.said,
        dir="descending" if high else "ascending",
    )
    direction = "DESC" if high else "ASC"
    sql = (
        f"SELECT {pen.columns(fields)} FROM {quoted(entity.table)}{where} ORDER BY {column(key)} {direction}"
    )
    return words, f"{sql} LIMIT {n}"


def group_count(pen: Pen) -> Draft:
    entity = pen.entity(_groups)
    key = pen.rng.choice(_groups(entity))
    where, post = pen.maybe_where(entity, 0.2, besides=[key])
    named = pen.called(key, entity)
    slots = {**pen.things(entity), "key": named, "keys": many(named), "where": post}
    first = pen.rng.random() < 0.5
    words = pen.say("group key count" if first else "group count", **slots)
    shown = f"{column(key)}, count(*)" if first or pen.rng.random() < 0.5 else f"count(*), {column(key)}"
    sql = f"SELECT {shown} FROM {quoted(entity.table)}{where} GROUP BY {column(key)}"
    if pen.rng.random() < 0.12:
        words += pen.rng.choice(
            (", starting with the largest number", ", most frequent first", ", largest count first")
        )
        sql += " ORDER BY count(*) DESC"
    return words, sql


def group_aggregate(pen: Pen) -> Draft:
    entity = pen.entity(lambda e: _groups(e) and _numbers(e))
    key, field = pen.rng.choice(_groups(entity)), pen.rng.choice(_numbers(entity))
    where, post = pen.maybe_where(entity, 0.15, besides=[key, field])
    inner, said = aggregates(pen, entity, field)
    named = pen.called(key, entity)
    slots = {**pen.things(entity), "key": named, "keys": many(named), "where": post, "aggs": said}
    first = pen.rng.random() < 0.5
    words = pen.say("group key aggregate" if first else "group aggregate", **slots)
    shown = f"{column(key)}, {inner}" if first or pen.rng.random() < 0.5 else f"{inner}, {column(key)}"
    return words, f"SELECT {shown} FROM {quoted(entity.table)}{where} GROUP BY {column(key)}"


def threshold(pen: Pen, most: int = 6) -> tuple[str, str]:
    """How many: words ("at least three") and the SQL comparison."""
    n = pen.rng.randint(1, most)
    op = pen.rng.choice((">", ">", ">=", ">=", "<", "<=", "="))
    n = max(n, 2) if op in ("<", ">=", "<=", "=") else n
    number = pen.counted(n)
    if op == ">=" and pen.rng.random() < 0.3:
        return f"{number} or more", f">= {n}"
    start = {">": "more than", ">=": expand(pen.rng, "at least n"), "=": "exactly"}
    start |= {"<": expand(pen.rng, "fewer n"), "<=": expand(pen.rng, "at most n")}
    return f"{start[op]} {number}", f"{op} {n}"


def having(pen: Pen) -> Draft:
    entity = pen.entity(_groups)
    key = pen.rng.choice(_groups(entity))
    named = pen.called(key, entity)
    slots = {**pen.things(entity), "key": named, "keys": many(named)}
    start = f"SELECT {column(key)} FROM {quoted(entity.table)}"
    measures = _numbers(entity)
    if measures and pen.rng.random() < 0.25:
        limit = pen.condition_on(pen.rng.choice([f for f in measures if f.values]), entity, (">", "<", ">="))
        if "NULL" not in limit.sql:
            op = limit.sql.split()[1]
            word = expand(pen.rng, {">": "over", "<": "under", ">=": "least"}[op])
            number = pen.value(limit.sql.split()[2])
            post = f"an average {limit.field.said} of {word} {number}"
            words = pen.say("having average", **slots, post=post)
            return (
                words,
                f"{start} GROUP BY {column(key)} HAVING avg({column(limit.field)}) {' '.join(limit.sql.split()[1:])}",
            )
    words, compared = threshold(pen, 8)
    if compared == "> 1":
        slots["things"] = slots["thing"]
    where, post = pen.maybe_where(entity, 0.15, besides=[key])
    said = pen.say("having", **slots, n=words, where=post)
    return said, f"{start}{where} GROUP BY {column(key)} HAVING count(*) {compared}"


def commonest(pen: Pen) -> Draft:
    entity = pen.entity(_groups)
    key = pen.rng.choice(_groups(entity))
    named = pen.called(key, entity)
    where, post = pen.maybe_where(entity, 0.12, besides=[key])
    slots = {**pen.things(entity), "key": named, "keys": many(named), "where": post}
    start = (
        f"SELECT {column(key)} FROM {quoted(entity.table)}{where} GROUP BY {column(key)} ORDER BY count(*)"
    )
    roll = pen.rng.random()
    if roll < 0.15:
        n = pen.rng.choice((2, 3, 3, 5))
        return pen.say("commonest n", **slots, n=pen.counted(n)), f"{start} DESC LIMIT {n}"
    if roll < 0.4:
        return pen.say("rarest", **slots), f"{start} ASC LIMIT 1"
    return pen.say("commonest", **slots), f"{start} DESC LIMIT 1"


def above_average(pen: Pen) -> Draft:
    entity = pen.entity(_numbers)
    key = pen.rng.choice(_numbers(entity))
    fields = [f for f in pen.shown(entity, besides=[key]) if f is not key]
    inner = f"SELECT avg({column(key)}) FROM {quoted(entity.table)}"
    slots = {**pen.things(entity), **pen.said(fields, entity)}
    above = pen.rng.random() < 0.65
    rule, op = ("above average", ">") if above else ("below average", "<")
    groups = [f for f in _groups(entity) if f.values and f.role == "category"]
    named = pen.called(key, entity)
    if groups and pen.rng.random() < 0.25:
        group = pen.rng.choice(groups)
        own = pen.condition_on(group, entity)
        if own.equality:
            inner = f"SELECT max({column(key)}) FROM {quoted(entity.table)} WHERE {own.on()}"
            others = f"{slots['things']} {own.post}"
            post = pen.say("above any", col=named, others=others)
            sql = f"SELECT {pen.columns(fields)} FROM {quoted(entity.table)} WHERE {column(key)} > ({inner})"
            return pen.say("list", **slots, where=f" {post}"), sql
    post = pen.say(rule, col=named, things=slots["things"])
    from_ = f"FROM {quoted(entity.table)} WHERE {column(key)} {op} ({inner})"
    if pen.rng.random() < 0.25:
        return pen.say("count where", **pen.things(entity), post=post), f"SELECT count(*) {from_}"
    return pen.say("list", **slots, where=f" {post}"), f"SELECT {pen.columns(fields)} {from_}"


def sets(pen: Pen) -> Draft:
    """Intersect, except and union over one table."""
    entity = pen.entity(lambda e: _groups(e) and len([f for f in e.fields if f.values]) > 1)
    roll = pen.rng.random()
    key = pen.rng.choice(_groups(entity))
    table = quoted(entity.table)
    one = pen.condition(entity, [key])
    named = pen.called(key, entity)
    slots = {**pen.things(entity), "key": named, "keys": many(named)}
    start = f"SELECT {column(key)} FROM {table}"
    if roll < 0.25:
        return pen.say("none at all", **slots, post=one.post), f"{start} EXCEPT {start} WHERE {one.on()}"
    if roll < 0.45:
        fields = pen.shown(entity, 2)
        two = pen.condition(entity, [one.field, *fields])
        shown = f"SELECT {pen.columns(fields)} FROM {table}"
        words = pen.say("either of", **slots, **pen.said(fields, entity), post=one.post, other=two.post)
        return words, f"{shown} WHERE {one.on()} UNION {shown} WHERE {two.on()}"
    if one.field.role == "number" and pen.rng.random() < 0.6:
        one = pen.condition_on(one.field, entity, (">",))
        two = pen.condition_on(one.field, entity, ("<",))
    else:
        two = pen.condition(entity, [key, one.field] if pen.rng.random() < 0.5 else [key])
    rule, operator = ("both", "INTERSECT") if roll < 0.75 else ("but not", "EXCEPT")
    words = pen.say(rule, **slots, post=one.post, other=two.post)
    return words, f"{start} WHERE {one.on()} {operator} {start} WHERE {two.on()}"
