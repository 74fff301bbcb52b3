"""Questions on one thing that is called by its name alone, or by its number, and things asked for in few words."""

from corpus.synthetic.condition import column, literal, quoted
from corpus.synthetic.facts import Entity
from corpus.synthetic.kin import family, numbers_of, titles_of
from corpus.synthetic.names import many
from corpus.synthetic.pen import COMPARATIVES, Pen
from corpus.synthetic.single import Draft
from corpus.synthetic.wording import expand

_HOW = {  # last word of a column: how it is asked for
    "age": "old", "price": "expensive", "cost": "expensive", "height": "tall", "weight": "heavy", "length": "long",
    "duration": "long", "distance": "long", "milliseconds": "long", "minutes": "long", "seconds": "long", "size": "large",
    "area": "large", "capacity": "large", "population": "large", "speed": "fast", "bytes": "large", "total": "large",
    "amount": "large",
}  # fmt: skip


def _who(pen: Pen, entity: Entity) -> tuple[str, str]:
    """A thing by its name alone: SQL with `{a}` for its alias and a column each, and the name as said."""
    titles = titles_of(entity)
    if len(titles) == 1:
        value = str(pen.rng.choice(titles[0].values))
        return f"{{a}}.{column(titles[0])} = {literal(value)}", pen.spoken(value)
    value, second = pen.rng.choice(entity.people)
    sql = f"{{a}}.{column(titles[0])} = {literal(value)} AND {{a}}.{column(titles[1])} = {literal(second)}"
    return sql, pen.value(f"{value} {second}")


def bare(pen: Pen) -> Draft:
    """Things asked for as such, in few words: their names are meant."""
    entity = pen.entity(lambda e: e.titles)
    fields = list(entity.titles)
    table, shown = quoted(entity.table), pen.columns(fields)
    slots = {**pen.things(entity), **pen.said(fields, entity)}
    numbers = entity.of("number", "date")
    roll = pen.rng.random()
    if numbers and roll < 0.35:
        key = pen.rng.choice(numbers)
        n, high = pen.rng.choice((1, 1, 3, 5, 5, 10)), pen.rng.random() < 0.7
        kind = " time" if key.year or key.role == "date" else ""
        top = f"{expand(pen.rng, ('high' if high else 'low') + kind)} {pen.called(key, entity)}"
        adjective = pen.adjective(key, entity, high)
        number = pen.counted(n)
        if adjective:
            rule = "bare adjective" if n == 1 else "bare adjectives"
        else:
            rule = "bare top" if n == 1 else "bare tops"
        words = pen.say(rule, **slots, n=number, top=top, tops=many(top), adj=adjective)
        order = f"ORDER BY {column(key)} {'DESC' if high else 'ASC'} LIMIT {n}"
        return words, f"SELECT {shown} FROM {table} {order}"
    if roll < 0.5:
        return pen.say("bare", **slots), f"SELECT {shown} FROM {table}"
    where, post = pen.where(entity, besides=fields)
    rule = "who" if entity.person and pen.rng.random() < 0.4 else "bare where"
    words = pen.say(rule, **slots, where=f" {post}", post=post)
    return words, f"SELECT {shown} FROM {table}{where}"


def of_named(pen: Pen) -> Draft:
    """A column of one thing that is called by its name alone: "Lima's population"."""
    entity = pen.entity(lambda e: e.titles and e.titles[0].values)
    titles = entity.titles
    others = [f for f in entity.fields if f not in titles and f.role != "key"]
    fields = pen.rng.sample(others, min(len(others), pen.rng.choice((1, 1, 1, 2))))
    if not fields:
        raise IndexError("nothing to tell of it")
    sql, named = _who(pen, entity)
    words = pen.say("of named", thing=entity.one, v=named, **pen.said(fields, entity))
    return words, f"SELECT {pen.columns(fields)} FROM {quoted(entity.table)} WHERE {sql.replace('{a}.', '')}"


def children_of_named(pen: Pen) -> Draft:
    """What belongs to one that is called by its name alone, listed or counted or summed up."""
    child, parent, from_, alias, _ = family(pen)
    sql, named = _who(pen, parent)
    where = f"WHERE {sql.replace('{a}', alias)}"
    slots = {"v": named, "parent": parent.one, **pen.things(child)}
    roll = pen.rng.random()
    if roll < 0.45:
        return pen.say("count of named", **slots), f"SELECT count(*) {from_} {where}"
    if roll < 0.65 and numbers_of(child):
        field = pen.rng.choice(numbers_of(child))
        function = pen.rng.choice(("sum", "sum", "avg", "max", "min"))
        said = f"{expand(pen.rng, function)} {pen.called(field, child)}"
        return pen.say("aggregate of named", **slots, agg=said), (
            f"SELECT {function}({column(field, 'T1')}) {from_} {where}"
        )
    fields = titles_of(child)
    words = pen.say("children of named", **slots, **pen.said(fields, child))
    return words, f"SELECT {pen.columns(fields, 'T1')} {from_} {where}"


def of_numbered(pen: Pen) -> Draft:
    """A column of one thing that is called by its key: "order 10248"."""
    entity = pen.entity(lambda e: e.key and e.key.values)
    assert entity.key is not None
    key, others = entity.key, [f for f in entity.fields if f.role != "key"]
    fields = pen.rng.sample(others, min(len(others), pen.rng.choice((1, 1, 1, 2))))
    if not fields:
        raise IndexError("nothing to tell of it")
    number = pen.rng.choice([v for v in key.values if isinstance(v, int)])
    words = pen.say("of numbered", thing=entity.one, v=pen.value(str(number)), **pen.said(fields, entity))
    return words, f"SELECT {pen.columns(fields)} FROM {quoted(entity.table)} WHERE {column(key)} = {number}"


def than_named(pen: Pen) -> Draft:
    """Things with more or less of something than one called by its name."""
    entity = pen.entity(lambda e: e.titles and e.titles[0].values and e.of("number", "date"))
    key = pen.rng.choice(entity.of("number", "date"))
    sql, named = _who(pen, entity)
    high = pen.rng.random() < 0.6
    fields = [f for f in pen.shown(entity, 2) if f is not key] or list(entity.titles)
    timed = key.role == "date" or key.year
    rule = f"{'later' if high else 'earlier'} than" if timed else f"{'more' if high else 'less'} than"
    post = pen.say(rule, col=pen.called(key, entity), v=named)
    pair = COMPARATIVES.get(key.said.split()[-1])
    if pair and not timed and pen.rng.random() < 0.6:
        post = f"that are {pair[not high]} than {named}"
    elif key.said == "age" and pen.rng.random() < 0.7:
        post = f"that are {'older' if high else 'younger'} than {named}"
    rule = "bare where" if tuple(fields) == entity.titles else "list"
    words = pen.say(rule, **pen.things(entity), **pen.said(fields, entity), where=f" {post}", post=post)
    table = quoted(entity.table)
    inner = f"SELECT {column(key)} FROM {table} WHERE {sql.replace('{a}.', '')}"
    return words, (
        f"SELECT {pen.columns(fields)} FROM {table} WHERE {column(key)} {'>' if high else '<'} ({inner})"
    )


def extreme_of_named(pen: Pen) -> Draft:
    """What has most of something among what belongs to one called by its name: "the longest track by Metallica"."""
    child, parent, from_, alias, _ = family(pen)
    key = pen.rng.choice(child.of("number", "date"))
    sql, named = _who(pen, parent)
    high, n = pen.rng.random() < 0.65, pen.rng.choice((1, 1, 1, 3, 5))
    kind = " time" if key.year or key.role == "date" else ""
    top = f"{expand(pen.rng, ('high' if high else 'low') + kind)} {pen.called(key, child)}"
    slots = {"v": named, "parent": parent.one, **pen.things(child), "n": pen.counted(n), "top": top}
    slots["adj"] = pen.adjective(key, child, high)
    rule = f"extreme{' adjective' if slots['adj'] and pen.rng.random() < 0.8 else ''} of named{' n' if n > 1 else ''}"
    fields = titles_of(child)
    order = f"ORDER BY {column(key, 'T1')} {'DESC' if high else 'ASC'} LIMIT {n}"
    where = f"WHERE {sql.replace('{a}', alias)}"
    return pen.say(rule, **slots), f"SELECT {pen.columns(fields, 'T1')} {from_} {where} {order}"


def most_of(pen: Pen) -> Draft:
    """The most or the least of a number itself: "how long is the longest track"."""
    entity = pen.entity(numbers_of)
    key = pen.rng.choice(numbers_of(entity))
    high = pen.rng.random() < 0.65
    adjective = pen.adjective(key, entity, high)
    slots = {**pen.things(entity), **pen.said([key], entity), "adj": adjective}
    slots["high"] = expand(pen.rng, "high" if high else "low")
    slots["how"] = _HOW.get(key.said.split()[-1], "")
    rule = "most of adjective" if adjective and slots["how"] else "most of"
    words = pen.say(rule, **slots)
    return words, f"SELECT {'max' if high else 'min'}({column(key)}) FROM {quoted(entity.table)}"


def lacking(pen: Pen) -> Draft:
    """Things without a value in a column, or with one: listed or counted."""
    entity = pen.entity(lambda e: any(f.nulls for f in e.fields))
    field = pen.rng.choice([f for f in entity.fields if f.nulls])
    without = pen.rng.random() < 0.75
    said = field.said.removesuffix(" date") if field.role == "date" and pen.rng.random() < 0.3 else field.said
    post = pen.say("lacking" if without else "given", col=said)
    where = f"FROM {quoted(entity.table)} WHERE {column(field)} IS {'' if without else 'NOT '}NULL"
    slots = {**pen.things(entity), "post": post, "where": f" {post}"}
    if pen.rng.random() < 0.4:
        return pen.say("count where", **slots), f"SELECT count(*) {where}"
    fields = list(entity.titles) or pen.shown(entity, 2, [field])
    return pen.say("bare where" if entity.titles else "list", **slots, **pen.said(fields, entity)), (
        f"SELECT {pen.columns(fields)} {where}"
    )


def flagged(pen: Pen) -> Draft:
    """Things for which a column of yes and no says yes, or no: "discontinued products"."""
    entity = pen.rng.choice([e for e in pen.facts.entities if e.flags])
    field = pen.rng.choice(entity.flags)
    yes, no = field.values
    on = pen.rng.random() < 0.65
    slots = {**pen.things(entity), "flag": field.said}
    rule = "flagged" if on else "not flagged"
    where = f"FROM {quoted(entity.table)} WHERE {column(field)} = {literal(yes if on else no)}"
    if pen.rng.random() < 0.45 or not entity.titles:
        return pen.say(f"count {rule}", **slots), f"SELECT count(*) {where}"
    fields = list(entity.titles)
    return pen.say(rule, **slots, **pen.said(fields, entity)), f"SELECT {pen.columns(fields)} {where}"


def superior(pen: Pen) -> Draft:
    """Who a thing of a table reports to or belongs under in the same table, and who reports to it."""
    loop = pen.rng.choice(pen.facts.loops)
    entity = loop.child
    titles = titles_of(entity)
    sql, named = _who(pen, entity)
    table = quoted(entity.table)
    on = f"T1.{quoted(loop.child_column)} = T2.{quoted(loop.parent_column)}"
    from_ = f"FROM {table} AS T1 JOIN {table} AS T2 ON {on}"
    boss = _boss(pen, loop.child_column)
    slots = {"v": named, "boss": boss, "bosses": many(boss), **pen.things(entity), **pen.said(titles, entity)}
    roll = pen.rng.random()
    if roll < 0.4:
        return pen.say("superior of", **slots), (
            f"SELECT {pen.columns(titles, 'T2')} {from_} WHERE {sql.replace('{a}', 'T1')}"
        )
    if roll < 0.75:
        where = f"WHERE {sql.replace('{a}', 'T2')}"
        if pen.rng.random() < 0.35:
            return pen.say("count under", **slots), f"SELECT count(*) {from_} {where}"
        return pen.say("subordinates", **slots), f"SELECT {pen.columns(titles, 'T1')} {from_} {where}"
    if roll < 0.87:
        words = pen.say("no superior", **slots)
        return words, f"SELECT {pen.columns(titles)} FROM {table} WHERE {quoted(loop.child_column)} IS NULL"
    return pen.say("each superior", **slots), (
        f"SELECT {pen.columns(titles, 'T1')}, {pen.columns(titles, 'T2')} {from_}"
    )


def _boss(pen: Pen, name: str) -> str:
    said = name.casefold()
    for part in ("supervisor", "manager", "boss", "mentor", "leader", "parent"):
        if part in said:
            return pen.rng.choice((part, part, "boss")) if part in ("supervisor", "manager") else part
    return pen.rng.choice(("boss", "manager", "supervisor", "superior"))
