"""A condition as SQL and in words, and how columns and values are written in SQL."""

import re
from dataclasses import dataclass

from corpus.synthetic.facts import Field

_PLAIN = re.compile(r"[A-Za-z_]\w*")
_RESERVED = frozenset(
    [
        "select",
        "from",
        "where",
        "group",
        "order",
        "by",
        "table",
        "index",
        "join",
        "on",
        "match",
        "natural",
        "left",
        "right",
        "inner",
        "outer",
        "union",
        "limit",
        "values",
        "default",
        "check",
        "references",
        "transaction",
        "commit",
        "begin",
        "rollback",
        "release",
        "replace",
        "plan",
        "view",
        "trigger",
        "column",
        "add",
        "drop",
        "create",
        "delete",
        "insert",
        "update",
        "escape",
        "glob",
        "collate",
        "constraint",
        "offset",
        "using",
        "with",
        "window",
        "over",
        "filter",
        "cast",
        "except",
        "intersect",
        "isnull",
        "notnull",
        "if",
        "temp",
        "explain",
        "query",
        "row",
        "rows",
        "range",
        "groups",
        "to",
        "in",
        "is",
        "not",
        "null",
        "and",
        "or",
        "as",
        "case",
        "when",
        "then",
        "else",
        "end",
        "set",
        "all",
        "distinct",
        "exists",
        "between",
        "like",
        "having",
        "primary",
        "foreign",
        "key",
        "unique",
        "cross",
        "full",
    ]
)


@dataclass(frozen=True)
class Condition:
    """`sql` has the column as `{c}`; `post` goes behind the noun: "whose age is above 30"."""

    field: Field
    sql: str
    post: str
    equality: bool = False

    def on(self, alias: str = "") -> str:
        return self.sql.replace("{c}", column(self.field, alias))


def quoted(name: str) -> str:
    if _PLAIN.fullmatch(name) and name.casefold() not in _RESERVED:
        return name
    return '"' + name.replace('"', '""') + '"'


def column(field: Field, alias: str = "") -> str:
    return f"{alias}.{quoted(field.name)}" if alias else quoted(field.name)


def literal(value: str | int | float) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(int(value)) if float(value).is_integer() else repr(value)
