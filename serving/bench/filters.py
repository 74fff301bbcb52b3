"""Which values stand in which columns, kept three ways: a set, a Bloom filter, a ChainedFilter (`sqlconf.chained_filter`).

What counts is the room a value takes, beside the information bound, and how often each says that a value is in a column that
it is not in: a value of another column (the slip that grounding looks for) or a text that no column holds.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corpus.contents import Contents
from corpus.demo import build_demo_database
from corpus.schema import read_schema
from sqlconf.chained_filter import Column, FilteredContents, Keys, hashed, information_bound_bits

from ..settings import Settings

MIN_VALUES = 200
"""Of a smaller database nobody would make a filter."""
STRANGERS = 20_000
TIMED = 500


class Bloom:
    """The plain filter, with the best number of hashes for its size (Bloom, 1970)."""

    def __init__(self, keys: Keys, bits_a_key: float) -> None:
        self.size = max(64, int(len(keys) * bits_a_key))
        self.hashes = max(1, round(bits_a_key * math.log(2)))
        self.bits = np.zeros(self.size, dtype=np.bool_)
        self.bits[self._places(keys).ravel()] = True

    def contains(self, keys: Keys) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = np.all(self.bits[self._places(keys)], axis=1)
        return found

    def _places(self, keys: Keys) -> NDArray[np.intp]:
        """Double hashing (Kirsch and Mitzenmacher, 2006)."""
        first, second = keys & np.uint64(0xFFFFFFFF), (keys >> np.uint64(32)) | np.uint64(1)
        steps = np.arange(self.hashes, dtype=np.uint64)
        return ((first[:, None] + steps * second[:, None]) % np.uint64(self.size)).astype(np.intp)


def run(settings: Settings) -> dict[str, Any]:
    """Of every database with enough values; sums and shares over all of them."""
    if settings.data is not None:
        files = sorted((settings.data / "spider" / "databases").glob("*.sqlite"))
        return _over(files)
    with tempfile.TemporaryDirectory() as folder:
        return _over([build_demo_database(Path(folder) / "demo.sqlite")])


def _over(files: list[Path]) -> dict[str, Any]:
    rows = [row for file in files for row in _of(file)]
    total: dict[str, Any] = {
        name: sum(row[name] for row in rows) for name in ("values", "wrong_column_pairs", "strangers")
    }
    ways = list(rows[0]["ways"]) if rows else []
    bound = sum(row["bound_bits"] for row in rows)
    total["information_bound_bits_a_value"] = _share(bound, total["values"])
    total["ways"] = {way: _sums([row["ways"][way] for row in rows], total, bound) for way in ways}
    return {
        "databases": len(rows),
        **total,
        "largest": max(rows, key=lambda row: row["values"], default=None),
    }


def _sums(rows: list[dict[str, float]], total: dict[str, Any], bound: float) -> dict[str, Any]:
    """One way's figures over all databases."""
    bits = sum(row["bits"] for row in rows)
    return {
        "bits_a_value": _share(bits, total["values"]),
        "over_bound": _share(bits, bound),
        "kib": bits / 8 / 1024,
        "wrong_column_passes": _share(sum(row["wrong"] for row in rows), total["wrong_column_pairs"]),
        "stranger_passes": _share(sum(row["strange"] for row in rows), total["strangers"]),
        "build_s": sum(row["build_s"] for row in rows),
        "look_up_us": float(np.median([row["look_up_us"] for row in rows])),
    }


def _share(count: float, of: float) -> float | None:
    return round(count / of, 6) if of else None


def _of(file: Path) -> Iterator[dict[str, Any]]:
    places = {
        value: dict(columns) for value, columns in Contents.read(file, read_schema(file)).places.items()
    }
    if sum(map(len, places.values())) < MIN_VALUES:
        return
    columns = sorted({column for held in places.values() for column in held})
    yes = hashed(_key(column, value) for value, held in places.items() for column in held)
    no = hashed(
        _key(column, value) for value, held in places.items() for column in columns if column not in held
    )
    strange = hashed(_key(columns[i % len(columns)], f"no such value {i}") for i in range(STRANGERS))
    texts = list(places)[:TIMED]
    ways: dict[str, dict[str, float]] = {}
    started = time.perf_counter()
    plain = {(column, value) for value, held in places.items() for column in held}
    built = time.perf_counter() - started
    ways["set"] = {
        "bits": 8.0 * (sys.getsizeof(plain) + sum(map(sys.getsizeof, plain)) + sum(sys.getsizeof(value) for value in places)),
        "wrong": 0, "strange": 0, "build_s": built,
        "look_up_us": _timed(texts, lambda text: [(c, text) in plain for c in columns]),
    }  # fmt: skip
    for bits in (4, 8):
        started = time.perf_counter()
        filtered = FilteredContents(places, bits)
        built = time.perf_counter() - started
        missed = int((~filtered.filter.contains(yes)).sum())
        assert not missed, f"{missed} values are not found"
        ways[f"chained, {bits} bits"] = {
            "bits": filtered.filter.space_bits, "wrong": int(filtered.filter.contains(no).sum()),
            "strange": int(filtered.filter.contains(strange).sum()), "build_s": built, "look_up_us": _timed(texts, filtered.find),
        }  # fmt: skip
        started = time.perf_counter()
        bloom = Bloom(yes, filtered.filter.space_bits / len(yes))
        ways[f"Bloom in the room of chained, {bits} bits"] = {
            "bits": bloom.size, "build_s": time.perf_counter() - started, "wrong": int(bloom.contains(no).sum()),
            "strange": int(bloom.contains(strange).sum()),
            "look_up_us": _timed(texts, partial(_in_bloom, bloom, columns)),
        }  # fmt: skip
    yield {
        "database": file.stem, "values": len(yes), "wrong_column_pairs": len(no), "strangers": STRANGERS,
        "bound_bits": information_bound_bits(len(yes), len(no)), "ways": ways,
    }  # fmt: skip


def _in_bloom(bloom: Bloom, columns: list[Column], text: str) -> NDArray[np.bool_]:
    return bloom.contains(hashed(_key(column, text) for column in columns))


def _key(column: Column, value: str) -> str:
    return "\0".join((*column, value))


def _timed(texts: list[str], look_up: Callable[[str], object]) -> float:
    """Microseconds to look one text up in all columns."""
    started = time.perf_counter()
    for text in texts:
        look_up(text)
    return (time.perf_counter() - started) * 1e6 / len(texts)
