"""SQLite compares and computes with values of any kind; other databases want both sides of one kind."""

from __future__ import annotations

import re

from sqlglot import exp

from . import dates
from .kinds import branches, cast, kind_of

_COMPARISONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ, exp.NullSafeNEQ)
_ARITHMETIC = (exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod)
_OF_TEXT = (
    exp.Substring,
    exp.Length,
    exp.Upper,
    exp.Lower,
    exp.Trim,
    exp.Replace,
    exp.StrPosition,
    exp.GroupConcat,
)
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")
_DATE = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d+)?)?)?")


def rewrite(node: exp.Expr, dialect: str) -> exp.Expr | None:
    """What `node`, whose parts have been rewritten, is to be instead; None if it may stay."""
    if isinstance(node, exp.Anonymous):
        return _function(node, dialect)
    if isinstance(node, exp.TimeToStr):
        return _strftime(node, dialect)
    if isinstance(node, exp.Date) and not node.expressions:
        return dates.of_function("date", [node.this], dialect)
    if isinstance(node, (exp.Like, exp.ILike)):
        return _like(node)
    if isinstance(node, _COMPARISONS):
        _alike(node, ["this", "expression"])
    elif isinstance(node, exp.Between):
        _alike(node, ["this", "low"])
        _alike(node, ["this", "high"])
    elif isinstance(node, exp.In):
        _in(node)
    elif isinstance(node, _ARITHMETIC) and not isinstance(node.expression, exp.Interval):
        _numbers(node, ["this", "expression"], dialect)
    elif isinstance(node, exp.Neg):
        _numbers(node, ["this"], dialect)
    elif isinstance(node, (exp.Sum, exp.Avg, exp.Abs)):
        _numbers(node.this if isinstance(node.this, exp.Distinct) else node, ["this"], dialect)
    elif isinstance(node, _OF_TEXT):
        _text(node, "this")
    elif isinstance(node, exp.DPipe):
        _text(node, "this")
        _text(node, "expression")
    elif isinstance(node, (exp.Case, exp.Coalesce, exp.If)):
        _branches(node)
    elif isinstance(node, exp.Round):
        return _round(node, dialect)
    elif isinstance(node, (exp.Cast, exp.TryCast)):
        return _cast(node, dialect)
    if isinstance(node, (exp.And, exp.Or)):
        _condition(node, "this")
        _condition(node, "expression")
    elif isinstance(node, (exp.Not, exp.Where, exp.Having, exp.If)) and not isinstance(node.parent, exp.Case):
        _condition(node, "this")
    elif isinstance(node, exp.Join) and node.args.get("on") is not None:
        _condition(node, "on")
    return None


def _function(node: exp.Anonymous, dialect: str) -> exp.Expr | None:
    name = node.name.lower()
    if name in dates.FUNCTIONS:
        return dates.of_function(name, list(node.expressions), dialect)
    if name == "total":
        number = exp.Sum(this=_as_number(node.expressions[0], dialect))
        return exp.Coalesce(this=number, expressions=[exp.Literal.number("0.0")])
    if name in ("likely", "unlikely") and len(node.expressions) == 1:
        return node.expressions[0]
    return None


def _strftime(node: exp.TimeToStr, dialect: str) -> exp.Expr | None:
    if isinstance(node.this, exp.TsOrDsToTimestamp):
        return dates.of_function("strftime", [node.args["format"], node.this.this], dialect)
    return None


def _like(node: exp.Expr) -> exp.Expr | None:
    """SQLite's LIKE takes letters of both cases for one."""
    _text(node, "this")
    if isinstance(node, exp.ILike):
        return None
    return exp.ILike(this=node.this.copy(), expression=node.expression.copy())


def _alike(node: exp.Expr, keys: list[str]) -> None:
    for mine, other in (keys, keys[::-1]):
        _fit(node.args[mine], node.args[other])


def _in(node: exp.In) -> None:
    for item in list(node.expressions):
        _fit(item, node.this)
    query = node.args.get("query")
    if query is not None:
        inner = query.unnest() if isinstance(query, exp.Subquery) else query
        kinds = (
            kind_of(node.this),
            kind_of(inner.selects[0]) if isinstance(inner, exp.Query) and inner.selects else None,
        )
        if None not in kinds and _family(kinds[0]) != _family(kinds[1]) and isinstance(inner, exp.Select):
            _text(node, "this")
            first = inner.selects[0]
            first.replace(
                exp.alias_(cast(first.unalias(), "text"), first.alias_or_name or "value", quoted=True)
            )


def _fit(one: exp.Expr, other: exp.Expr) -> None:
    """Make `one` comparable with `other`, as SQLite's affinities would."""
    mine, theirs = kind_of(one), kind_of(other)
    if mine is None or theirs is None or _family(mine) == _family(theirs):
        return
    literal = one if isinstance(one, exp.Literal) else None
    if theirs == "bool" and literal is not None and literal.name in ("0", "1"):
        one.replace(exp.Boolean(this=literal.name == "1"))
    elif mine == "bool" and theirs in ("int", "float"):
        if not (isinstance(other, exp.Literal) and other.name in ("0", "1")) or isinstance(one, exp.Boolean):
            one.replace(cast(one, "int"))
    elif literal is not None and mine == "text":
        if theirs in ("int", "float") and _NUMBER.fullmatch(literal.name):
            one.replace(exp.Literal.number(literal.name.strip()))
        elif theirs in ("date", "time") and _DATE.fullmatch(literal.name):
            if theirs == "date" and len(literal.name) > 10:
                other.replace(cast(other, "time"))
        elif theirs != "text":
            other.replace(cast(other, "text"))
    elif literal is not None and theirs == "text":
        one.replace(exp.Literal.string(literal.name))
    elif mine != "text" and theirs == "text" and not isinstance(other, exp.Literal):
        one.replace(cast(one, "text"))


def _family(kind: str | None) -> str | None:
    return {"int": "number", "float": "number", "date": "moment", "time": "moment"}.get(kind or "", kind)


def _numbers(node: exp.Expr, keys: list[str], dialect: str) -> None:
    for key in keys:
        part = node.args.get(key)
        if part is None and isinstance(node, exp.Distinct):
            node.set("expressions", [_as_number(one, dialect) for one in node.expressions])
        elif isinstance(part, exp.Expr):
            made = _as_number(part, dialect)
            if made is not part:
                node.set(key, made)


def _as_number(part: exp.Expr, dialect: str) -> exp.Expr:
    kind = kind_of(part)
    if kind == "text":
        if isinstance(part, exp.Literal) and _NUMBER.fullmatch(part.name):
            return exp.Literal.number(part.name.strip())
        return _number_in_text(part, "float", dialect)
    if kind == "bool":
        return cast(part, "int")
    if kind in ("date", "time"):  # a text that begins with its year, to SQLite
        return cast(exp.Extract(this=exp.var("YEAR"), expression=part.copy()), "int")
    return part


def _number_in_text(part: exp.Expr, kind: str, dialect: str) -> exp.Expr:
    """The number that a text begins with, or 0, as SQLite reads it."""
    found = exp.Anonymous(
        this="regexp_substr" if dialect == "postgres" else "regexp_extract",
        expressions=[part.copy(), exp.Literal.string(r"^\s*[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")],
    )
    number = cast(exp.Nullif(this=found, expression=exp.Literal.string("")), "float")
    either = exp.Coalesce(this=number, expressions=[exp.Literal.number("0")])
    made = exp.Case(
        ifs=[exp.If(this=exp.Not(this=exp.Is(this=part.copy(), expression=exp.null())), true=either)]
    )
    made.type = exp.DataType.build("DOUBLE")
    return cast(exp.Anonymous(this="trunc", expressions=[made]), "int") if kind == "int" else made


def _text(node: exp.Expr, key: str) -> None:
    part = node.args.get(key)
    if isinstance(part, exp.Distinct):
        part = part.expressions[0]
    kind = kind_of(part)
    if part is not None and kind is not None and kind != "text":
        part.replace(cast(cast(part, "int") if kind == "bool" else part, "text"))


def _branches(node: exp.Expr) -> None:
    found = branches(node)
    kinds = {_family(kind_of(one)) for one in found} - {None}
    if len(kinds) > 1:
        for one in found:
            if kind_of(one) not in (None, "text"):
                one.replace(
                    cast(one, "text")
                    if "text" in kinds
                    else cast(one, "int")
                    if kind_of(one) == "bool"
                    else one
                )


def _round(node: exp.Round, dialect: str) -> exp.Expr | None:
    if (
        dialect == "postgres" and node.args.get("decimals") is not None
    ):  # PostgreSQL rounds numeric to digits, nothing else
        node.set("this", exp.Cast(this=node.this.copy(), to=exp.DataType.build("DECIMAL")))
    return None


def _cast(node: exp.Cast, dialect: str) -> exp.Expr | None:
    kind, inner = kind_of(node), kind_of(node.this)
    if inner == "text" and kind in ("int", "float") and not isinstance(node.this, exp.Literal):
        return _number_in_text(node.this, kind, dialect)
    if kind == "int" and inner == "float":
        return cast(exp.Anonymous(this="trunc", expressions=[node.this.copy()]), "int")
    if kind == "int" and inner in ("date", "time"):
        return cast(exp.Extract(this=exp.var("YEAR"), expression=node.this.copy()), "int")
    if kind in ("int", "float", "text"):
        return cast(node.this, kind)
    return None


def _condition(node: exp.Expr, key: str) -> None:
    """A number that stands where a condition is wanted."""
    part = node.args.get(key)
    if kind_of(part) in ("int", "float") and part is not None:
        node.set(key, exp.NEQ(this=part.copy(), expression=exp.Literal.number("0")))
