"""Questions on dates: what was when, how much per year, in SQLite's strftime."""

from collections.abc import Sequence

from corpus.synthetic.condition import Condition, column, quoted
from corpus.synthetic.facts import Entity, Field
from corpus.synthetic.pen import Pen
from corpus.synthetic.single import Draft, aggregates
from corpus.synthetic.years import dates, done_on, in_year


def _part(form: str, field: Field) -> str:
    return f"strftime('{form}', {column(field)})"


def _dated(pen: Pen) -> tuple[Entity, Field, str, str]:
    """A table, a date of it, what was done then (" hired", or nothing), and the end of the name of rules that say which date is
    meant: none is needed where there is but one.
    """
    entity = pen.entity(dates)
    field = pen.rng.choice(dates(entity))
    done = done_on(pen, field, entity)
    if done == "":
        raise IndexError("several dates, of which nothing tells")
    alone = len([f for f in entity.fields if f.year or f.role == "date"]) == 1
    return entity, field, "" if done == "-" else f" {done}", "" if alone else " done"


def per_year(pen: Pen) -> Draft:
    """How many, or an aggregate, for each year of a date."""
    entity, field, done, rule = _dated(pen)
    numbers = [f for f in entity.of("number") if not f.year]
    month = pen.rng.random() < 0.15
    part = _part("%Y-%m" if month else "%Y", field)
    slots = {**pen.things(entity), "unit": "month" if month else "year", "done": done}
    if numbers and pen.rng.random() < 0.4:
        sql, said = aggregates(pen, entity, pen.rng.choice(numbers))
        words = pen.say(f"aggregate per year{rule}", **slots, aggs=said)
    else:
        sql, words = "count(*)", pen.say(f"count per year{rule}", **slots)
    shown = f"{part}, {sql}" if pen.rng.random() < 0.8 else f"{sql}, {part}"
    return words, f"SELECT {shown} FROM {quoted(entity.table)} GROUP BY {part}"


def busiest_year(pen: Pen) -> Draft:
    """The year with the most rows."""
    entity, field, done, rule = _dated(pen)
    part, few = _part("%Y", field), pen.rng.random() < 0.25
    slots = {**pen.things(entity), "done": done, "most": "fewest" if few else "most"}
    words = pen.say(f"busiest year{rule}", **slots)
    return words, (
        f"SELECT {part} FROM {quoted(entity.table)} GROUP BY {part} ORDER BY count(*) {'ASC' if few else 'DESC'} LIMIT 1"
    )


def year_of(pen: Pen) -> Draft:
    """In which year it was, of things that a condition tells."""
    entity = pen.entity(dates)
    field = pen.rng.choice(dates(entity))
    condition = pen.condition(entity, [field])
    named = pen.called(field, entity)
    words = pen.say("year of", **pen.things(entity), col=named, where=f" {condition.post}")
    return words, f"SELECT {_part('%Y', field)} FROM {quoted(entity.table)} WHERE {condition.on()}"


def with_dates(pen: Pen) -> Draft:
    """Things by a year of theirs: listed, counted or summed up."""
    entity = pen.entity(dates)
    field = pen.rng.choice(dates(entity))
    condition = in_year(pen, field, entity)
    return _asked(pen, entity, condition, [field])


def _asked(pen: Pen, entity: Entity, condition: Condition, besides: Sequence[Field]) -> Draft:
    table, where = quoted(entity.table), f"WHERE {condition.on()}"
    numbers = [f for f in entity.of("number") if not f.year]
    roll, post = pen.rng.random(), condition.post
    things = pen.things(entity)
    if roll < 0.35:
        return pen.say("count where", **things, post=post), f"SELECT count(*) FROM {table} {where}"
    if roll < 0.6 and numbers:
        sql, said = aggregates(pen, entity, pen.rng.choice(numbers))
        return pen.say(
            "aggregate", **things, aggs=said, where=f" {post}"
        ), f"SELECT {sql} FROM {table} {where}"
    fields = (
        list(entity.titles) if entity.titles and pen.rng.random() < 0.6 else pen.shown(entity, 2, besides)
    )
    rule = "which" if tuple(fields) == entity.titles else "list"
    words = pen.say(rule, **things, **pen.said(fields, entity), where=f" {post}", post=post)
    return words, f"SELECT {pen.columns(fields)} FROM {table} {where}"
