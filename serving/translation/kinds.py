"""What kind of value an expression has, of those that SQLite treats alike and other databases do not."""

from __future__ import annotations

from typing import Literal

from sqlglot import exp
from sqlglot.errors import SqlglotError

Kind = Literal["text", "int", "float", "date", "time", "bool"]

_TYPES: dict[Kind, str] = {
    "text": "TEXT", "int": "BIGINT", "float": "DOUBLE", "date": "DATE", "time": "TIMESTAMP", "bool": "BOOLEAN",
}  # fmt: skip
_BOOLEAN = (exp.Predicate, exp.And, exp.Or, exp.Not)
_TEXTS = (
    exp.Substring, exp.Upper, exp.Lower, exp.Trim, exp.Replace, exp.DPipe, exp.Concat, exp.ConcatWs, exp.GroupConcat,
    exp.TimeToStr, exp.Chr, exp.Typeof, exp.JSONExtractScalar, exp.Hex,
)  # fmt: skip
_INTS = (
    exp.Count,
    exp.Length,
    exp.StrPosition,
    exp.RowNumber,
    exp.Rank,
    exp.DenseRank,
    exp.Ntile,
    exp.Unicode,
    exp.Extract,
)
_ARITHMETIC = (exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod, exp.Neg)


def kind_of(node: exp.Expr | None) -> Kind | None:
    """None where it is not known, or NULL."""
    if node is None or isinstance(node, exp.Null):
        return None
    if isinstance(node, (exp.Paren, exp.Alias)):
        return kind_of(node.this)
    if isinstance(node, exp.Literal):
        return (
            "text" if node.is_string else "float" if "." in node.name or "e" in node.name.lower() else "int"
        )
    if isinstance(node, (exp.Boolean, *_BOOLEAN)):
        return "bool"
    if isinstance(node, _TEXTS):
        return "text"
    if isinstance(node, _INTS):
        return "int"
    if isinstance(node, exp.Avg):
        return "float"
    if isinstance(node, (exp.Sum, exp.Abs)):
        inner = kind_of(node.this)
        return "float" if inner in ("float", "text") else "int" if inner else None
    if isinstance(node, _ARITHMETIC):
        kinds = {kind_of(part) for part in node.iter_expressions()}
        return "float" if kinds & {"float", "text"} else "int" if kinds == {"int"} else None
    if isinstance(node, (exp.Max, exp.Min, exp.AnyValue, exp.Distinct, exp.ArgMax, exp.ArgMin)):
        return kind_of(node.expressions[0] if isinstance(node, exp.Distinct) else node.this)
    if isinstance(node, (exp.Cast, exp.TryCast)):
        return kind_of_type(node.to)
    if isinstance(node, (exp.Coalesce, exp.Nullif, exp.If, exp.Case)):
        kinds = {kind_of(branch) for branch in branches(node)} - {None}
        return kinds.pop() if len(kinds) == 1 else None
    if isinstance(node, exp.Subquery):
        inner_select = node.unnest()
        if isinstance(inner_select, exp.Select) and len(inner_select.expressions) == 1:
            return kind_of(inner_select.expressions[0])
    return kind_of_type(node.type) if isinstance(node.type, exp.DataType) else None


def branches(node: exp.Expr) -> list[exp.Expr]:
    """The expressions of which one is `node`'s value."""
    if isinstance(node, exp.Case):
        found = [one.args["true"] for one in node.args.get("ifs") or ()] + [node.args.get("default")]
    elif isinstance(node, exp.If):
        found = [node.args["true"], node.args.get("false")]
    elif isinstance(node, exp.Coalesce):
        found = [node.this, *node.expressions]
    else:
        found = [node.this]
    return [one for one in found if one is not None]


def kind_of_type(type_: exp.DataType) -> Kind | None:
    this = type_.this
    if this in exp.DataType.TEXT_TYPES:
        return "text"
    if this in exp.DataType.INTEGER_TYPES:
        return "int"
    if this in exp.DataType.REAL_TYPES:
        return "float"
    if this in (exp.DataType.Type.DATE, exp.DataType.Type.DATE32):
        return "date"
    if this in exp.DataType.TEMPORAL_TYPES and this is not exp.DataType.Type.TIME:
        return "time"
    return "bool" if this is exp.DataType.Type.BOOLEAN else None


def kind_of_declared(declared: str, dialect: str) -> Kind | None:
    """Of a column's type as its database declares it."""
    try:
        return kind_of_type(exp.DataType.build(declared, dialect=dialect))
    except (SqlglotError, ValueError):  # a type of the database's own
        return None


def cast(node: exp.Expr, kind: Kind) -> exp.Expr:
    """`node` as a value of that kind."""
    type_ = (
        "INT" if kind == "int" and kind_of(node) == "bool" else _TYPES[kind]
    )  # PostgreSQL makes no BIGINT of it
    made = exp.Cast(this=node.copy(), to=exp.DataType.build(type_))
    made.type = made.to
    return made


def type_name(kind: Kind | None) -> str:
    return _TYPES[kind] if kind else "UNKNOWN"
