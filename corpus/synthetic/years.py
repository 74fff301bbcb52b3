"""Conditions on the year or the month of a date, in SQLite's strftime."""

from datetime import date
from typing import TYPE_CHECKING

from corpus.synthetic.condition import Condition
from corpus.synthetic.facts import Entity, Field

if TYPE_CHECKING:
    from corpus.synthetic.pen import Pen

_DONE = {  # a word of the column: what was done then
    "hire": ("hired", "employed", "taken on"),
    "hired": ("hired", "employed"),
    "birth": ("born",),
    "born": ("born",),
    "order": ("ordered", "placed", "made"),
    "ordered": ("ordered", "placed"),
    "invoice": ("invoiced", "issued", "billed"),
    "release": ("released", "published"),
    "released": ("released",),
    "publication": ("published",),
    "published": ("published",),
    "join": ("that joined",),
    "joined": ("that joined",),
    "shipped": ("shipped", "sent"),
    "ship": ("shipped", "sent"),
    "shipment": ("shipped", "sent"),
    "payment": ("paid",),
    "paid": ("paid",),
    "purchase": ("purchased", "bought"),
    "opened": ("opened",),
    "opening": ("opened",),
    "founded": ("founded", "established"),
    "founding": ("founded", "established"),
    "start": ("started", "that began", "that started"),
    "end": ("ended", "that ended"),
    "created": ("created", "made"),
    "creation": ("created", "made"),
    "delivery": ("delivered",),
    "delivered": ("delivered",),
    "admission": ("admitted",),
    "loan": ("lent", "borrowed"),
    "booking": ("booked",),
    "booked": ("booked",),
    "planted": ("planted",),
    "built": ("built",),
    "signed": ("signed",),
    "visit": ("made",),
    "registration": ("registered",),
    "registered": ("registered",),
}


def dates(entity: Entity) -> list[Field]:
    """Columns of days whose values are known, all in the spelling that strftime reads."""
    return [f for f in entity.of("date") if f.values]


def done_on(pen: "Pen", field: Field, entity: Entity) -> str:
    """What was done on that date ("hired"), or nothing where the column's name does not tell or another rivals it."""
    words = field.said.split()
    said = [_DONE[word] for word in words if word in _DONE]
    others = [f for f in entity.fields if f is not field and (f.year or f.role == "date")]
    done = pen.rng.choice(said[0]) if said else ""
    if done and not any(done in _DONE.get(word, ()) for other in others for word in other.said.split()):
        return done
    return "" if others else "-"


def in_year(pen: "Pen", field: Field, entity: Entity) -> Condition:
    """A condition on the year of a date, or on a month of a year, or on a month."""
    days = sorted(str(v) for v in field.values)
    day = date.fromisoformat(pen.rng.choice(days)[:10])
    col, done = pen.called(field, entity), done_on(pen, field, entity)
    roll = pen.rng.random()
    if roll < 0.16:
        name = pen.rng.choice((f"{day:%B}", f"{day:%B}", f"{day:%b}"))
        words, sql = f"{name} {day.year}", f"strftime('%Y-%m', {{c}}) = '{day:%Y-%m}'"
        if pen.rng.random() < 0.15:
            words = f"{day:%Y-%m}"
        return Condition(field, sql, _worded(pen, "month", done, col, {"v": pen.value(words)}))
    if roll < 0.26:
        sql = f"strftime('%m', {{c}}) = '{day:%m}'"
        return Condition(field, sql, _worded(pen, "month", done, col, {"v": pen.value(f"{day:%B}")}))
    op = pen.rng.choice(("=", "=", "=", "=", ">", "<", ">=", "<=", "between"))
    year, slots = day.year, {"v": pen.value(str(day.year))}
    if op == "between":
        later = sorted({int(d[:4]) for d in days if int(d[:4]) > year})
        if not later:
            op = ">="
        else:
            other = pen.rng.choice(later)
            slots["w"] = pen.value(str(other))
            sql = f"strftime('%Y', {{c}}) BETWEEN '{year}' AND '{other}'"
            return Condition(field, sql, _worded(pen, "between", done, col, slots))
    sql = f"strftime('%Y', {{c}}) {op} '{year}'"
    return Condition(field, sql, _worded(pen, op, done, col, slots))


def _worded(pen: "Pen", op: str, done: str, col: str, slots: dict[str, str]) -> str:
    if done == "-" and pen.rng.random() < 0.6:
        return pen.say("month" if op == "month" else f"year {op}", **slots)
    if done not in ("", "-") and pen.rng.random() < 0.7:
        when = pen.say(f"when {op}", **slots)
        if done.startswith("that ") or pen.rng.random() < 0.75:
            return f"{done} {when}"
        return f"that were {done} {when}"
    return pen.say(f"time of {op}", col=col, **slots)
