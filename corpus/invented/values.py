"""What stands in invented columns."""

import random
import re
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

Value = str | int | float | None

_POOLS = {
    heading: [entry.strip() for entry in entries.replace("\n", " ").split(",")]
    for heading, entries in re.findall(
        r"^\[(\w+)\]\n((?:.+\n)+)",
        (Path(__file__).parent / "pools.txt").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
}
_START = date(1995, 1, 1)
_DAYS = 10_500


_PATTERNS = {
    "first": ("{first}",),
    "last": ("{last}",),
    "person": ("{first} {last}",),
    "city": ("{cities}",),
    "country": ("{countries}",),
    "company": ("{last} {firms}", "{nouns} {firms}"),
    "place": ("{adjectives} {nouns}", "{cities} {nouns}"),
    "street": ("{number} {nouns} {streets}",),
    "team": ("{cities} {teams}",),
    "word": ("{nouns}", "{nouns}", "{adjectives} {nouns}"),
    "title": (
        "{adjectives} {nouns}",
        "The {adjectives} {nouns}",
        "{nouns} of {nouns}",
        "{nouns} and {nouns}",
        "{adjectives} {nouns} {number}",
        "A {nouns} in {cities}",
    ),
    "email": ("{first}.{last}@example.com",),
}


def _text(kind: str, rng: random.Random) -> str:
    """One of the kind's patterns, each {pool} in it filled anew."""

    def fill(match: re.Match[str]) -> str:
        return str(rng.randint(2, 240)) if match[1] == "number" else rng.choice(_POOLS[match[1]])

    return re.sub(r"\{(\w+)\}", fill, rng.choice(_PATTERNS[kind]))


_OTHERS: dict[str, Callable[[random.Random], Value]] = {
    "phone": lambda rng: f"{rng.randint(200, 989)}-{rng.randint(100, 999)}-{rng.randint(1000, 9999)}",
    "code": lambda rng: f"{''.join(rng.choices('ABCDEFGHKLMNPRSTUVWX', k=2))}{rng.randint(10, 9999)}",
    "date": lambda rng: (_START + timedelta(days=rng.randrange(_DAYS))).isoformat(),
    "year": lambda rng: rng.randint(1960, 2023),
}


def maker(kind: str, rng: random.Random) -> Callable[[], Value]:
    """Draws of a column of this kind; a `?` at its end leaves a quarter of them null."""
    if kind.endswith("?"):
        make = maker(kind[:-1], rng)
        return lambda: None if rng.random() < 0.25 else make()
    if kind in _PATTERNS:
        return lambda: _text(kind, rng)
    if kind in _OTHERS:
        return lambda: _OTHERS[kind](rng)
    if match := re.fullmatch(r"(-?\d+)\.\.(-?\d+)", kind):
        low, high = int(match[1]), int(match[2])
        low = max(low, high // 1000) if low == 1 and high > 5_000 else low
        return lambda: _round(rng.randint(low, high), high - low)
    if match := re.fullmatch(r"(-?\d+\.\d+)\.\.(-?\d+\.\d+)", kind):
        places = 2 if len(match[1].partition(".")[2]) > 1 else 1
        return lambda: round(rng.uniform(float(match[1]), float(match[2])), places)
    choices = kind.split("/")
    numbers = all(choice.isdigit() for choice in choices)
    values: list[Value] = [int(choice) if numbers else choice for choice in choices]
    weights = [rng.uniform(0.3, 1.0) for _ in values]
    return lambda: rng.choices(values, weights)[0]


def declared(kind: str) -> str:
    """The column's type in SQL: INTEGER, REAL, DATE or TEXT."""
    kind = kind.removesuffix("?")
    if kind == "date":
        return "DATE"
    if kind == "year" or re.fullmatch(r"-?\d+\.\.-?\d+|\d+(/\d+)*", kind):
        return "INTEGER"
    return "REAL" if re.fullmatch(r"-?\d+\.\d+\.\.-?\d+\.\d+", kind) else "TEXT"


def _round(value: int, width: int) -> int:
    """Large figures are mostly round ones."""
    step = 10 ** max(0, len(str(width)) - 3)
    return value // step * step
