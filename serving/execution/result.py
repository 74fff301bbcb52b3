"""What a statement answers, in values that JSON can hold, under caps on rows and bytes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

Value = bool | int | float | str | None


@dataclass(frozen=True)
class Limits:
    """How much a statement may answer, and how long it may take."""

    max_rows: int = 1000
    max_bytes: int = 4 * 2**20
    timeout_s: float = 5.0


@dataclass(frozen=True)
class Result:
    """What a statement answered; `truncated` when a cap on rows or bytes cut it short."""

    columns: list[str]
    rows: list[list[Value]]
    truncated: bool
    ms: float


def take(found: Iterable[Sequence[object]], limits: Limits) -> tuple[list[list[Value]], bool]:
    """Rows of `found` up to the caps, and whether there was more."""
    rows: list[list[Value]] = []
    size = 0
    for raw in found:
        row = [json_value(value) for value in raw]
        size += sum(len(value) if isinstance(value, str) else 8 for value in row)
        if len(rows) >= limits.max_rows or size > limits.max_bytes:
            return rows, True
        rows.append(row)
    return rows, False


def json_value(value: object) -> Value:
    """Blobs become hexadecimal text, what is not finite its name, dates and the like text, what is nested JSON's text."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else _not_finite(value)
    if isinstance(value, Decimal):
        if not value.is_finite():
            return _not_finite(float(value))
        return int(value) if value.as_tuple().exponent == 0 else float(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    if isinstance(value, (dict, list, tuple)):
        return json.dumps(value, default=lambda inner: str(json_value(inner)), ensure_ascii=False)
    return str(value)


def _not_finite(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"
