"""SQLite's functions of dates, which are texts there, in PostgreSQL and DuckDB."""

from __future__ import annotations

import re

from sqlglot import exp

from ..errors import GuardError
from .kinds import Kind, cast, kind_of

FUNCTIONS = frozenset({"date", "datetime", "time", "julianday", "unixepoch", "strftime"})

_EPOCH_DAY = "2440587.5"  # the julian day of 1970-01-01
_FORMATS = {
    "%Y": "YYYY",
    "%m": "MM",
    "%d": "DD",
    "%H": "HH24",
    "%M": "MI",
    "%S": "SS",
    "%j": "DDD",
    "%%": "%",
}
_SHORTHANDS = {"%F": "%Y-%m-%d", "%T": "%H:%M:%S", "%R": "%H:%M"}
_SHIFT = re.compile(r"([+-]?\d+(?:\.\d+)?) (second|minute|hour|day|month|year)s?")
_HINT = "Of SQLite's dates there are date, datetime, time, julianday, unixepoch and strftime, with +N days and start of month."


def of_function(name: str, arguments: list[exp.Expr], dialect: str) -> exp.Expr:
    """The like of SQLite's `name(arguments)`. Raises GuardError for what has none."""
    if name == "strftime":
        if not arguments or not (isinstance(arguments[0], exp.Literal) and arguments[0].is_string):
            raise GuardError("strftime is taken with a format that is written out.", _HINT)
        moment = moment_of(arguments[1:], dialect)
        return _formatted(arguments[0].name, moment, dialect)
    moment = moment_of(arguments, dialect)
    if name == "date":
        return cast(moment, "date")
    if name == "datetime":
        return _formatted("%Y-%m-%d %H:%M:%S", moment, dialect)
    if name == "time":
        return _formatted("%H:%M:%S", moment, dialect)
    seconds = _typed(exp.Extract(this=exp.var("EPOCH"), expression=moment), "float")
    if name == "unixepoch":
        return cast(exp.Floor(this=seconds), "int")
    days = exp.Div(this=seconds, expression=exp.Literal.number("86400.0"))
    return exp.paren(_typed(exp.Add(this=days, expression=exp.Literal.number(_EPOCH_DAY)), "float"))


def moment_of(arguments: list[exp.Expr], dialect: str) -> exp.Expr:
    """The timestamp of a time value with its modifiers."""
    value = arguments[0] if arguments else exp.Literal.string("now")
    moment = _moment(value, dialect)
    for modifier in arguments[1:]:
        if not (isinstance(modifier, exp.Literal) and modifier.is_string):
            raise GuardError("A modifier of a date is taken where it is written out.", _HINT)
        moment = _modified(moment, " ".join(modifier.name.lower().split()))
    return moment


def _moment(value: exp.Expr, dialect: str) -> exp.Expr:
    while isinstance(value, (exp.TsOrDsToTimestamp, exp.Paren)):
        value = value.this
    if isinstance(value, exp.Literal) and value.is_string and value.name.lower() == "now":
        return cast(exp.CurrentTimestamp(), "time")
    if kind_of(value) in ("int", "float"):
        raise GuardError("A number is not taken for a date.", _HINT)
    if dialect == "duckdb" and kind_of(value) not in (
        "date",
        "time",
    ):  # a text that is no date is NULL in SQLite
        return _typed(exp.TryCast(this=value.copy(), to=exp.DataType.build("TIMESTAMP")), "time")
    return cast(value, "time")


def _modified(moment: exp.Expr, modifier: str) -> exp.Expr:
    if modifier in ("utc", "localtime", "auto", "subsec"):
        return moment
    if modifier in ("start of day", "start of month", "start of year"):
        return _typed(exp.TimestampTrunc(this=moment, unit=exp.var(modifier.split()[-1].upper())), "time")
    shift = _SHIFT.fullmatch(modifier)
    if shift is None:
        raise GuardError(f"The date's modifier {modifier[:40]!r} is not taken.", _HINT)
    interval = exp.Interval(
        this=exp.Literal.string(shift[1].removeprefix("+")), unit=exp.var(shift[2].upper())
    )
    return _typed(exp.Add(this=moment, expression=interval), "time")


def _formatted(form: str, moment: exp.Expr, dialect: str) -> exp.Expr:
    for short, long in _SHORTHANDS.items():
        form = form.replace(short, long)
    pieces = [piece for piece in re.split(r"(%.)", form) if piece]
    texts = [_piece(piece, moment, dialect) for piece in _together(pieces)]
    made: exp.Expr = texts[0] if texts else exp.Literal.string("")
    for text in texts[1:]:
        made = _typed(exp.DPipe(this=made, expression=text, safe=True), "text")
    return exp.paren(made) if len(texts) > 1 else made


def _together(pieces: list[str]) -> list[str]:
    """Pieces that one call can format, joined."""
    found: list[str] = []
    for piece in pieces:
        plain = piece in _FORMATS or not re.search(r"[%A-Za-z\"\\]", piece)
        if plain and found and found[-1][0] == "+":
            found[-1] += piece
        else:
            found.append(("+" if plain else "-") + piece)
    return found


def _piece(piece: str, moment: exp.Expr, dialect: str) -> exp.Expr:
    plain, piece = piece[0] == "+", piece[1:]
    if plain and "%" in piece:
        if dialect == "postgres":
            for key, value in _FORMATS.items():
                piece = piece.replace(key, value)
            return _typed(
                exp.Anonymous(this="to_char", expressions=[moment.copy(), exp.Literal.string(piece)]), "text"
            )
        return _typed(
            exp.Anonymous(this="strftime", expressions=[moment.copy(), exp.Literal.string(piece)]), "text"
        )
    if "%" not in piece:
        return exp.Literal.string(piece)
    parts = {"%w": "DOW", "%u": "ISODOW", "%s": "EPOCH", "%G": "ISOYEAR"}
    if piece in parts:
        number = cast(exp.Extract(this=exp.var(parts[piece]), expression=moment.copy()), "int")
        return cast(number, "text")
    raise GuardError(f"strftime's {piece[:10]!r} is not taken.", _HINT)


def _typed(node: exp.Expr, kind: Kind) -> exp.Expr:
    node.type = cast(exp.null(), kind).type
    return node
