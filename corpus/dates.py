"""Dates, months of a year, quarters and halves, as people write them, in the spelling that a database holds."""

import calendar
import re
from collections.abc import Iterator
from typing import NamedTuple

_MONTH_NAMES = """
    january jan | february feb | march mar | april apr | may | june jun | july jul | august aug | september sep sept |
    october oct | november nov | december dec
"""
MONTHS = {
    name: f"{i:02d}" for i, names in enumerate(_MONTH_NAMES.split("|"), start=1) for name in names.split()
}
"""A month's names and its two digits."""
_MONTH = rf"(?P<month>{'|'.join(sorted(MONTHS, key=len, reverse=True))})\.?"
_ORDINALS = {
    "first": 1,
    "1st": 1,
    "second": 2,
    "2nd": 2,
    "third": 3,
    "3rd": 3,
    "fourth": 4,
    "4th": 4,
    "last": 4,
}
_NTH = rf"(?P<nth>{'|'.join(_ORDINALS)})"
_YEAR = r"(?P<year>\d{4})"
_OF = r"(?:\s*,\s*|\s+of\s+|\s+in\s+|\s+)"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_PATTERNS = [
    (kind, re.compile(rf"\b{pattern}\b", re.IGNORECASE))
    for kind, pattern in (
        ("date", rf"{_DAY}(?:\s+of)?\s+{_MONTH}{_OF}{_YEAR}"),
        ("date", rf"{_MONTH}\s+{_DAY}{_OF}{_YEAR}"),
        ("month", rf"{_MONTH}{_OF}{_YEAR}"),
        ("quarter", rf"q(?P<q>[1-4]){_OF}{_YEAR}"),
        ("quarter", rf"{_YEAR}\s*-?\s*q(?P<q>[1-4])"),
        ("quarter", rf"{_NTH}\s+quarter{_OF}{_YEAR}"),
        ("half", rf"{_NTH}\s+half{_OF}{_YEAR}"),
    )
]


class Span(NamedTuple):
    """Characters [start, end) of the question, and the values that they stand for: a range has two."""

    start: int
    end: int
    texts: tuple[str, ...]
    whole: bool
    """Whether the words of the span mean nothing apart from it."""


def find_dates(question: str) -> Iterator[Span]:
    """Spans from left to right within each form; none overlaps another."""
    taken: list[range] = []
    for kind, pattern in _PATTERNS:
        for match in pattern.finditer(question):
            if any(match.start() < span.stop and span.start < match.end() for span in taken):
                continue
            texts = _texts(kind, match)
            if texts:
                taken.append(range(match.start(), match.end()))
                yield Span(match.start(), match.end(), texts, kind == "date")


def _texts(kind: str, match: re.Match[str]) -> tuple[str, ...]:
    parts = match.groupdict()
    year = parts["year"]
    if kind in {"date", "month"}:
        month = MONTHS[parts["month"].casefold()]
        if kind == "month":
            return (f"{year}-{month}",)
        day = int(parts["day"])
        return (f"{year}-{month}-{day:02d}",) if 1 <= day <= 31 else ()
    length = 3 if kind == "quarter" else 6
    nth = int(parts.get("q") or _ORDINALS[parts["nth"].casefold()])
    nth = 2 if kind == "half" and nth == 4 else nth
    last = nth * length
    if last > 12:
        return ()
    days = calendar.monthrange(int(year), last)[1] if int(year) else 31
    return f"{year}-{last - length + 1:02d}-01", f"{year}-{last:02d}-{days}"
