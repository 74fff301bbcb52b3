"""Hostile statements in disguise: the same words in other cases, spaces, quotes, comments and company."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence

_SPACES = [
    "\t",
    "\n",
    "\r\n",
    "\f",
    "\v",
    "/**/",
    "/* ; */",
    "--x\n",
    "/*! */",
    "\u00a0",
    "\u2003",
    "\ufeff",
    "  ",
]
_LOOKALIKES = {"s": "ſ", "k": "\u212a", "e": "е", "a": "а", "o": "о", "E": "Ｅ", "'": "’", ";": "；"}
_WRAPS = [
    "SELECT * FROM ({}) AS x", "WITH x AS ({}) SELECT * FROM x", "SELECT ({})", "SELECT 1 WHERE EXISTS ({})", "({})",
    "SELECT 1 UNION ALL {}", "{} UNION SELECT 1", "SELECT name FROM suppliers WHERE id IN ({})", "EXPLAIN {}", "{};", "{} --",
    "SELECT 1; {}", "{}; SELECT 1", "/* {} */ SELECT 1", "SELECT 1 /* */; {}", "SELECT coalesce(({}), 1)", "SELECT '{}'",
    "SELECT * FROM suppliers ORDER BY ({})", "WITH RECURSIVE x AS ({}) SELECT 1", "SELECT CASE WHEN 1 = 1 THEN ({}) END",
    "SELECT $${}$$", "SELECT $a${}$a$; {}", "{}\x00", "\ufeff{}", "SELECT 1 FROM suppliers, LATERAL ({}) AS x",
]  # fmt: skip
_WORD = re.compile(r"\w+")


def mutations(sources: Sequence[str], count: int, seed: int = 0) -> Iterator[str]:
    """`count` statements, each of one of `sources` changed one to four times; the same for the same arguments."""
    rng = random.Random(f"hostile {seed}")
    for _ in range(count):
        sql = rng.choice(sources)
        for _ in range(rng.randint(1, 4)):
            sql = rng.choice(_CHANGES)(sql, sources, rng)
        yield sql[:12_000]


def _case(sql: str, _sources: Sequence[str], rng: random.Random) -> str:
    return "".join(rng.choice((letter.lower(), letter.upper())) for letter in sql)


def _space(sql: str, _sources: Sequence[str], rng: random.Random) -> str:
    return "".join(rng.choice(_SPACES) if letter == " " and rng.random() < 0.5 else letter for letter in sql)


def _wrap(sql: str, _sources: Sequence[str], rng: random.Random) -> str:
    return rng.choice(_WRAPS).replace("{}", sql)


def _splice(sql: str, sources: Sequence[str], rng: random.Random) -> str:
    other = rng.choice(sources)
    return sql[: rng.randint(0, len(sql))] + other[rng.randint(0, len(other)) :]


def _join(sql: str, sources: Sequence[str], rng: random.Random) -> str:
    return (
        sql
        + rng.choice([";", "; ", " UNION ", "\n;\n", ")", "'; ", '"; ', "*/", " -- \n"])
        + rng.choice(sources)
    )


def _quote(sql: str, _sources: Sequence[str], rng: random.Random) -> str:
    words = list(_WORD.finditer(sql))
    if not words:
        return sql
    word = rng.choice(words)
    left, right = rng.choice(['""', "[]", "``", "''", '""', ('U&"', '"'), ("E'", "'")])
    return sql[: word.start()] + left + word[0] + right + sql[word.end() :]


def _swap(sql: str, sources: Sequence[str], rng: random.Random) -> str:
    mine, theirs = list(_WORD.finditer(sql)), _WORD.findall(rng.choice(sources))
    if not mine or not theirs:
        return sql
    word = rng.choice(mine)
    return sql[: word.start()] + rng.choice(theirs) + sql[word.end() :]


def _lookalike(sql: str, _sources: Sequence[str], rng: random.Random) -> str:
    return "".join(_LOOKALIKES[x] if x in _LOOKALIKES and rng.random() < 0.1 else x for x in sql)


def _drop(sql: str, _sources: Sequence[str], rng: random.Random) -> str:
    at = rng.randint(0, max(0, len(sql) - 1))
    return sql[:at] + sql[at + rng.randint(1, 3) :]


def _escape(sql: str, _sources: Sequence[str], rng: random.Random) -> str:
    at = rng.randint(0, len(sql))
    return (
        sql[:at]
        + rng.choice(
            ["\\", "'", '"', "`", "(", ")", ";", "\x00", "$$", "/*", "*/", "--", "%", "\n", "\ud800"]
        )
        + sql[at:]
    )


def _schema(sql: str, _sources: Sequence[str], rng: random.Random) -> str:
    prefix = rng.choice(
        ["main.", "public.", "pg_catalog.", "temp.", "information_schema.", '"public".', "system.", "shop."]
    )
    words = list(re.finditer(r"\b(?:FROM|JOIN|SELECT|INTO)\s+(?=\w)", sql, re.I))
    if not words:
        return sql
    at = rng.choice(words).end()
    return sql[:at] + prefix + sql[at:]


_CHANGES = [
    _case,
    _space,
    _wrap,
    _wrap,
    _splice,
    _join,
    _quote,
    _swap,
    _swap,
    _lookalike,
    _drop,
    _escape,
    _schema,
]
