"""Questions on dates: what was when, how much per year, in SQLite's strftime."""

import re
from collections.abc import Sequence

from corpus.synthetic.condition import Condition, column, quoted
from corpus.synthetic.facts import Entity, Field
from corpus.synthetic.pen import Pen
from corpus.synthetic.single import Draft, aggregates
from corpus.synthetic.years import dates, done_on, in_year


def _part(form: str, field: Field, alias: str = "") -> str:
    return f"strftime('{form}', {column(field, alias)})"


def per_year(pen: Pen) -> Draft:
    """How many, or an aggregate, for each year of a date."""
    entity = pen.entity(dates)
    field = pen.rng.choice(dates(entity))
    done = done_on(pen, field, entity)
    if done == "":
        raise IndexError("several dates, of which nothing tells")
    numbers = [f for f in entity.of("number") if not f.year]
    month = pen.rng.random() < 0.15
    part = _part("%Y-%m" if month else "%Y", field)
    unit = "month" if month else "year"
    slots = {**pen.things(entity), "unit": unit, "done": f" {done}" if re.match(r"[a-z]", done) else ""}
    if numbers and pen.rng.random() < 0.4:
        sql, said = aggregates(pen, entity, pen.rng.choice(numbers))
        words = pen.say("aggregate per year", **slots, aggs=said)
    else:
        sql, words = "count(*)", pen.say("count per year", **slots)
    shown = f"{part}, {sql}" if pen.rng.random() < 0.8 else f"{sql}, {part}"
    return words, f"SELECT {shown} FROM {quoted(entity.table)} GROUP BY {part}"


def busiest_year(pen: Pen) -> Draft:
    """The year with the most rows."""
    entity = pen.entity(dates)
    field = pen.rng.choice(dates(entity))
    done = done_on(pen, field, entity)
    if done == "":
        raise IndexError("several dates, of which nothing tells")
    part, few = _part("%Y", field), pen.rng.random() < 0.25
    words = pen.say(
        "busiest year",
        **pen.things(entity),
        done=f" {done}" if re.match(r"[a-z]", done) else "",
        most="fewest" if few else "most",
    )
    order = "ASC" if few else "DESC"
    return (
        words,
        f"SELECT {part} FROM {quoted(entity.table)} GROUP BY {part} ORDER BY count(*) {order} LIMIT 1",
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
