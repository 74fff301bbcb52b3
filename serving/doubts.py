"""The doubts of `sqlconf.doubts` in the database's own words: names for references, and where the rival's rows differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from corpus.references import Binding
from sqlconf.doubts import Doubt, Explained, doubts
from sqlconf.signal import Answer, Reading

from .candidates import MAX_BYTES, MAX_ROWS, TIMEOUT_S, Context
from .databases import Database
from .errors import ServingError

LONGEST = 200
"""Characters of a row that a note shows."""


def doubts_of(
    answer: Answer,
    readings: Sequence[Reading],
    fusion: Explained | None,
    database: Database,
    run: bool = True,
) -> list[Doubt]:
    """What is uncertain. With `run`, answer and rival are run again, briefly and behind both walls, to tell their difference."""
    found = doubts(answer, readings, fusion)
    context = answer.context
    binding = context.prompt.binding if isinstance(context, Context) else None
    told = []
    for one in found:
        if one.kind == "token" and binding is not None:
            one = replace(one, what=_named(one.what, binding))
        if one.kind == "rival" and run:
            difference = _difference(answer.sql, one.what, database)
            one = replace(one, what=_spoken(one.what, database), note=f"{one.note}: {difference}")
        told.append(one)
    return told


def _named(token: str, binding: Binding) -> str:
    """What a reference stands for; other tokens as they are."""
    kind, number = token[1:2], token[2:-1]
    if not (token.startswith("<") and token.endswith(">") and kind in "tcv" and number.isdigit()):
        return token
    at = int(number)
    if kind == "t" and at < len(binding.tables):
        return binding.tables[at]
    if kind == "c" and at < len(binding.columns):
        return ".".join(binding.columns[at])
    if kind == "v" and at < len(binding.values):
        return binding.values[at].text
    return token


def _spoken(sql: str, database: Database) -> str:
    """In the database's own dialect, or as the model wrote it where it does not go over."""
    try:
        return database.translate(sql)
    except ServingError:
        return sql


def _difference(sql: str, rival: str, database: Database) -> str:
    try:
        limits = {"max_rows": MAX_ROWS, "max_bytes": MAX_BYTES, "timeout_s": TIMEOUT_S}
        own, other = database.execute(sql, **limits), database.execute(rival, **limits)  # type: ignore[arg-type]
    except (
        ServingError
    ) as error:  # gone or slow in the meantime: the answer stands, its difference is not known
        return f"the two could not be run again ({error.message})"
    if len(own.columns) != len(other.columns):
        return f"it gives {len(other.columns)} columns, not {len(own.columns)}"
    own_rows, other_rows = (Counter(map(repr, result.rows)) for result in (own, other))
    extra, lacking = other_rows - own_rows, own_rows - other_rows
    parts = [f"it gives {len(other.rows)} rows, not {len(own.rows)}"]
    if extra:
        parts.append(f"only there: {next(iter(extra))[:LONGEST]}")
    if lacking:
        parts.append(f"only here: {next(iter(lacking))[:LONGEST]}")
    return "; ".join(parts)
