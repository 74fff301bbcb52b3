"""The pieces of a SQL query as English: a value is a noun phrase ("average age"), a condition a clause
("age is at least 3").
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from sqlglot import exp

from sqlconf.naming import humanise, listed, plural
from sqlconf.signal import ColumnView

_DATE_PARTS = {
    "%Y": "year",
    "%m": "month",
    "%d": "day",
    "%H": "hour",
    "%M": "minute",
    "%w": "weekday",
    "%W": "week",
}
_COMPARISONS: dict[type[exp.Expr], tuple[str, str]] = {
    exp.EQ: ("is", "is not"),
    exp.NEQ: ("is not", "is"),
    exp.GT: ("is more than", "is at most"),
    exp.GTE: ("is at least", "is less than"),
    exp.LT: ("is less than", "is at least"),
    exp.LTE: ("is at most", "is more than"),
    exp.NullSafeEQ: ("is", "is not"),
    exp.NullSafeNEQ: ("is not", "is"),
    exp.Glob: ("matches", "does not match"),
    exp.RegexpLike: ("matches", "does not match"),
}
_IN_TIME = {
    "is more than": "is after",
    "is at least": "is from",
    "is less than": "is before",
    "is at most": "is up to",
}
_ARITHMETIC: dict[type[exp.Expr], str] = {
    exp.Add: "plus",
    exp.Sub: "minus",
    exp.Mul: "times",
    exp.Div: "divided by",
    exp.IntDiv: "divided by",
    exp.Mod: "modulo",
}
_SEEN_THROUGH = (
    exp.Paren, exp.Alias, exp.Cast, exp.TryCast, exp.Collate, exp.Lower, exp.Upper, exp.Trim, exp.Round,
    exp.Coalesce, exp.TsOrDsToTimestamp, exp.TsOrDsToDate, exp.TsOrDsToTime, exp.TimestampTrunc,
)  # fmt: skip
_EXTREMES = {exp.Max: ("highest", "latest"), exp.Min: ("lowest", "earliest")}


@dataclass(frozen=True)
class Scope:
    """What the names of one SELECT stand for."""

    query: Callable[[exp.Expr], str]
    nouns: dict[str, str] = field(default_factory=dict)
    """Alias or table name, folded, to the table's noun in the singular."""
    columns: dict[str, ColumnView] = field(default_factory=dict)
    """The schema's columns by folded name; empty when there is no schema."""
    counted: str = "rows"
    """What a row is, in the plural: count(*) counts these."""
    qualified: bool = False
    """Whether columns need their table's noun before them."""


def value(node: exp.Expr, scope: Scope) -> str:
    """A noun phrase without an article. Never fails: what it has no rule for becomes its name and its
    parts.
    """
    if isinstance(node, _SEEN_THROUGH):
        return value(node.this, scope)
    if isinstance(node, exp.DPipe):
        sides = [side for side in node.flatten() if not _is_blank(side)]
        return listed([value(side, scope) for side in sides])
    if type(node) in _ARITHMETIC:
        return f"{value(node.this, scope)} {_ARITHMETIC[type(node)]} {value(node.expression, scope)}"
    match node:
        case exp.Column():
            return _column(node, scope)
        case exp.Star():
            return "all information"
        case exp.Literal():
            return str(node.this)
        case exp.Null():
            return "nothing"
        case exp.Subquery() | exp.Query():
            return scope.query(node.unnest())
        case exp.Count():
            return _count(node, scope)
        case exp.Distinct():
            return "different " + listed([value(item, scope) for item in node.expressions])
        case exp.Sum():
            return f"total {value(node.this, scope)}"
        case exp.Avg():
            return f"average {value(node.this, scope)}"
        case exp.Max() | exp.Min():
            return f"{_EXTREMES[type(node)][is_time(node.this, scope)]} {value(node.this, scope)}"
        case exp.Neg():
            return f"{'-' if isinstance(node.this, exp.Literal) else 'minus '}{value(node.this, scope)}"
        case exp.TimeToStr():
            return _date_part(node, scope)
        case exp.Year() | exp.Month() | exp.Day() | exp.Extract() if node.this is not None:
            part = node.name.lower() if isinstance(node, exp.Extract) else node.key
            inner = node.expression if isinstance(node, exp.Extract) else node.this
            return f"{part} of {value(inner, scope)}"
        case exp.Date() | exp.CurrentDate() | exp.CurrentTimestamp():
            moment = node.args.get("this")
            return "today" if moment is None or moment.name == "now" else value(moment, scope)
        case exp.Case():
            cases = [
                f"{value(c.args['true'], scope)} if {condition(c.this, scope)}" for c in node.args["ifs"]
            ]
            other = node.args.get("default")
            return ", ".join([*cases, f"otherwise {value(other, scope)}"] if other else cases)
        case exp.If():
            return f"{value(node.args['true'], scope)} if {condition(node.this, scope)}"
        case exp.Filter():
            kept = condition(node.expression.this, scope)
            return f"{value(node.this, scope)} counting only those whose {kept}"
        case exp.Window():
            return _window(node, scope)
        case exp.RowNumber() | exp.Rank() | exp.DenseRank():
            return "rank"
        case exp.Predicate() | exp.Connector() | exp.Not():
            return f"whether {condition(node, scope)}"
    return _anything(node, scope)


def condition(node: exp.Expr, scope: Scope, negated: bool = False) -> str:
    """A clause with its subject: "country is Germany"; negation goes into the verb."""
    negated ^= bool(node.args.get("negate"))  # sqlglot's mark for NOT LIKE; other negations are a Not
    match node:
        case exp.Paren() | exp.Escape():
            return condition(node.this, scope, negated)
        case exp.Not():
            return condition(node.this, scope, not negated)
        case exp.And() | exp.Or():
            return _connected(node, scope, negated)
        case exp.Between():
            verb = "is not between" if negated else "is between"
            low, high = (value(node.args[end], scope) for end in ("low", "high"))
            return f"{value(node.this, scope)} {verb} {low} and {high}"
        case exp.In():
            return _membership(node, scope, negated)
        case exp.Is() if isinstance(node.expression, exp.Null):
            return f"{value(node.this, scope)} {'is known' if negated else 'is missing'}"
        case exp.Like() | exp.ILike():
            return f"{value(node.this, scope)} {_like(node.expression, scope, negated)}"
        case exp.Exists():
            return f"there {'are no' if negated else 'are'} {_rows(node.this, scope)}"
        case exp.Binary() if type(node) in _COMPARISONS:
            verb = _COMPARISONS[type(node)][negated]
            if is_time(node.this, scope):
                verb = _IN_TIME.get(verb, verb)
            return f"{value(node.this, scope)} {verb} {operand(node.expression, scope)}"
        case exp.Is():
            return (
                f"{value(node.this, scope)} {'is not' if negated else 'is'} {value(node.expression, scope)}"
            )
    return f"{value(node, scope)} {'does not hold' if negated else 'holds'}"


def operand(node: exp.Expr, scope: Scope) -> str:
    """The right side of a comparison; there SQLite reads "Europe", which names no column, as a text."""
    quoted = isinstance(node, exp.Column) and not node.table and node.this.args.get("quoted")
    if quoted and node.name.casefold() not in scope.columns:
        return node.name
    words = value(node, scope)
    if isinstance(node, exp.Literal | exp.Query | exp.Subquery | exp.Null | exp.Boolean | exp.Neg):
        return words
    return words if words == "today" else f"the {words}"


def is_time(node: exp.Expr, scope: Scope) -> bool:
    """Whether a value is a moment, by the column's type or its name."""
    if not isinstance(node, exp.Column):
        return False
    known = scope.columns.get(node.name.casefold())
    kind = known.type.lower() if known else ""
    return "time" in kind or "date" in kind or bool({"date", "year"} & set(humanise(node.name).split()))


def _is_blank(node: exp.Expr) -> bool:
    return isinstance(node, exp.Literal) and not str(node.this).strip(" ,-_/.")


def is_text(node: exp.Expr, scope: Scope) -> bool:
    known = scope.columns.get(node.name.casefold()) if isinstance(node, exp.Column) else None
    return known is not None and ("text" in known.type.lower() or "char" in known.type.lower())


def _column(node: exp.Column, scope: Scope) -> str:
    noun = scope.nouns.get(node.table.casefold(), "") if node.table else ""
    if isinstance(node.this, exp.Star):
        return f"all {noun} information" if noun else "all information"
    known = scope.columns.get(node.name.casefold())
    words = humanise(known.name if known else node.name)
    if not scope.qualified or not noun or set(noun.split()) & set(words.split()):
        return words
    return f"{noun} {words}"


def _count(node: exp.Count, scope: Scope) -> str:
    counted = node.this
    if isinstance(counted, exp.Distinct):
        return "number of different " + listed([plural(value(item, scope)) for item in counted.expressions])
    if isinstance(counted, exp.Column) and not isinstance(counted.this, exp.Star):
        words = humanise(counted.name)
        return f"number of {scope.counted if words.split()[-1] == 'id' else plural(value(counted, scope))}"
    return f"number of {scope.counted}"


def _date_part(node: exp.TimeToStr, scope: Scope) -> str:
    pattern = node.args["format"].name
    parts = [words for code, words in _DATE_PARTS.items() if code in pattern]
    if "%Y-%m-%d" in pattern or not parts:
        return value(node.this, scope)
    return f"{listed(parts)} of {value(node.this, scope)}"


def _window(node: exp.Window, scope: Scope) -> str:
    words = value(node.this, scope)
    if order := node.args.get("order"):
        words += " by " + listed([value(item.this, scope) for item in order.expressions])
    if within := node.args.get("partition_by"):
        words += " within each " + listed([value(item, scope) for item in within])
    return words


def _connected(node: exp.And | exp.Or, scope: Scope, negated: bool) -> str:
    word = "and" if isinstance(node, exp.And) != negated else "or"
    sides = [condition(side, scope, negated) for side in node.flatten()]
    for verb in (" is not ", " is "):
        subjects = {side.partition(verb)[0] for side in sides}
        if len(subjects) == 1 and all(verb in side for side in sides):
            return f"{subjects.pop()}{verb}{listed([side.partition(verb)[2] for side in sides], word)}"
    return f" {word} ".join(sides)


def _membership(node: exp.In, scope: Scope, negated: bool) -> str:
    subject = value(node.this, scope)
    if query := node.args.get("query"):
        return f"{subject} {'is not' if negated else 'is'} among {scope.query(query.unnest())}"
    choices = [operand(item, scope) for item in node.expressions]
    return f"{subject} {'is not' if negated else 'is'} {listed(choices, 'or')}"


def _rows(query: exp.Expr, scope: Scope) -> str:
    """What EXISTS looks for: the rows, whatever constant or column it selects."""
    words = scope.query(query.unnest())
    return words.partition(" of ")[2] or words


def _like(pattern: exp.Expr, scope: Scope, negated: bool) -> str:
    text = pattern.name if isinstance(pattern, exp.Literal | exp.Column) else value(pattern, scope)
    bare = text.strip("%")
    if "%" in bare or "_" in bare:
        does, does_not = "looks like", "does not look like"
    elif text.startswith("%") and text.endswith("%"):
        does, does_not = "contains", "does not contain"
    elif text.endswith("%"):
        does, does_not = "starts with", "does not start with"
    elif text.startswith("%"):
        does, does_not = "ends with", "does not end with"
    else:
        does, does_not = "is", "is not"
    return f"{does_not if negated else does} {bare}"


def _anything(node: exp.Expr, scope: Scope) -> str:
    parts = [value(part, scope) for part in node.iter_expressions()]
    if isinstance(node, exp.Func):
        name = humanise(node.name if isinstance(node, exp.Anonymous) else node.sql_name())
        return f"{name} of {listed(parts)}" if parts else name
    return listed(parts) if parts else humanise(node.name or node.key)
