"""What rules can say of a question, a statement for it and the rows that it gives, as numbers with names.

None of them is a judgement by itself: what each is worth is fitted (`sqlconf.evidence`).
"""

import math
import re
from collections import Counter
from collections.abc import Mapping

from sqlglot import exp

from sqlconf import grounding, shape
from sqlconf.coverage import Alignment
from sqlconf.describe import describe
from sqlconf.grounding import ContentsView
from sqlconf.signal import Answer
from sqlconf.statement import Statement, read
from sqlconf.wording import Wording, wording

_PARTS: Mapping[str, tuple[type[exp.Expr], ...]] = {
    "join": (exp.Join,), "table": (exp.Table,), "column": (exp.Column,), "literal": (exp.Literal,), "and": (exp.And,),
    "or": (exp.Or,), "select": (exp.Select,), "count": (exp.Count,), "avg": (exp.Avg,), "sum": (exp.Sum,), "max": (exp.Max,),
    "min": (exp.Min,), "group": (exp.Group,), "having": (exp.Having,), "order": (exp.Order,), "limit": (exp.Limit,),
    "distinct": (exp.Distinct,), "set": (exp.Union, exp.Intersect, exp.Except), "in": (exp.In,), "not": (exp.Not,),
    "like": (exp.Like,), "neq": (exp.NEQ,), "eq": (exp.EQ,), "gt": (exp.GT,), "lt": (exp.LT,), "between": (exp.Between,),
    "star": (exp.Star,),
}  # fmt: skip
"""What is counted in a statement."""

_CUES = {
    name: re.compile(pattern)
    for name, pattern in {
        "how many": r"how many|number of|count", "each": r"\b(?:each|per|every)\b",
        "most": r"\b(?:most|least|\w+est)\b|maximum|minimum", "more": r"more than|greater|larger|at least|older|above|over",
        "less": r"less than|fewer|smaller|below|under|at most|younger", "not": r"\b(?:not|no)\b|n.t\b|without|never|except",
        "and": r"\band\b", "or": r"\bor\b", "both": r"\bboth\b", "order": r"order|sort|alphabet|ascending|descending",
        "average": r"average|mean", "total": r"total|sum", "different": r"different|distinct|unique",
        "who": r"^who|whose|which",
    }.items()
}  # fmt: skip


def traits(
    answer: Answer, alignment: Alignment | None, contents: ContentsView | None
) -> dict[str, float] | None:
    """Names to numbers; what cannot be told is left out. None where the SQL is not one query that parses.

    `alignment` is of the answer, where there is one; `contents`, its database's values.
    """
    statement = read(answer.sql)
    if statement is None:
        return None
    words = wording(answer.question)
    return {
        **_findings(answer, contents),
        **_statement(statement),
        **_question(words),
        **_together(answer, statement, words),
        **({} if alignment is None else _names(alignment)),
        **_rows(answer),
    }


def _findings(answer: Answer, contents: ContentsView | None) -> dict[str, float]:
    of_shape, of_ground = shape.findings(answer) or [], grounding.findings(answer, contents) or []
    found = {f"shape: {kind}": 0.0 for kind in shape.WEIGHTS} | {
        f"ground: {kind}": 0.0 for kind in grounding.WEIGHTS
    }
    for name, some in (("shape", of_shape), ("ground", of_ground)):
        for kind, count in Counter(one.kind for one in some).items():
            found[f"{name}: {kind}"] = float(count)
    found["kinds of findings"] = float(len({one.kind for one in (*of_shape, *of_ground)}))
    return found


def _statement(statement: Statement) -> dict[str, float]:
    return {f"sql: {name}": float(sum(1 for _ in statement.all(*kinds))) for name, kinds in _PARTS.items()}


def _question(words: Wording) -> dict[str, float]:
    cues = {f"says: {name}": float(cue.search(words.folded) is not None) for name, cue in _CUES.items()}
    return {**cues, "words": float(len(words.words)), "numbers": float(len(words.numbers)),
            "names": float(len(words.names) + len(words.quoted)), "asked": float(len(words.asked))}  # fmt: skip


def _together(answer: Answer, statement: Statement, words: Wording) -> dict[str, float]:
    given = len(statement.projections)
    literals = sum(1 for _ in statement.all(exp.Literal))
    description = describe(answer.sql, answer.schema) or ""
    return {
        "given": float(given),
        "given, not asked": float(given - len(words.asked)),
        "literals, not said": float(literals - len(words.numbers) - len(words.names) - len(words.quoted)),
        "length": len(description.split()) / max(1, len(words.words)),
    }


def _names(alignment: Alignment) -> dict[str, float]:
    return {
        f"names: {name}": float(value)
        for name, value in vars(alignment).items()
        if not isinstance(value, str)
    }


def _rows(answer: Answer) -> dict[str, float]:
    own = answer.own
    if own is None or own.rows is None or own.distinct is None:
        return {}
    return {
        "rows: many": math.log1p(own.rows),
        "rows: distinct": own.distinct,
        "rows: none": float(own.rows == 0),
        "rows: one": float(own.rows == 1),
    }
