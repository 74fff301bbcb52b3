"""What two sketches subtracted cost, and whether they are right, beside a join of the two tables of calls.

The tables are at their best: each call 12 bytes (its name and its tokens), compressed if that is smaller, joined by
numpy's sorted arrays. The sketches are of one size whatever the number of calls. What keeping a sketch costs as calls come is
told apart from what a comparison costs.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..gateway.sketch import CAPACITY, Sketch, SketchFull
from ..settings import Settings

CALLS = (1_000, 10_000, 100_000)
DIFFERENCES = (0, 10, 100, CAPACITY)
ROUNDS = 3
TRIALS, TRIAL_CALLS = 200, 2_000
LOADS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
"""Differences, as shares of CAPACITY, that are tried TRIALS times."""
_ROW = np.dtype([("name", ">u8"), ("tokens", ">u4")])
Table = NDArray[np.void]


def run(settings: Settings) -> dict[str, Any]:
    """By number of calls and of differences; then how many differences come out how often. CPU is of this process."""
    del settings
    draw = np.random.default_rng(0)
    lines = [_line(draw, calls, wrong) for calls in CALLS for wrong in DIFFERENCES]
    return {
        "capacity": CAPACITY,
        "bytes_of_two_sketches": 2 * len(Sketch().to_bytes()),
        "by_calls_and_differences": lines,
        "all_exact": all(line["sketches_exact"] and line["join_exact"] for line in lines),
        "trials_each": TRIALS,
        "by_differences": [_trials(draw, round(load * CAPACITY)) for load in LOADS],
    }


def _line(draw: np.random.Generator, calls: int, wrong: int) -> dict[str, Any]:
    settled, did, expected = _tables(draw, calls, wrong)
    started = time.process_time()
    sketches = [_sketch(settled), _sketch(did)]
    keeping_us = (time.process_time() - started) * 1e6 / (2 * calls)
    by_sketch, sketch_ms = _timed(lambda: _by_sketch([one.to_bytes() for one in sketches]))
    sent = [_packed(table) for table in (settled, did)]
    by_join, join_ms = _timed(lambda: _by_join(sent))
    return {
        "calls": calls,
        "differences": wrong,
        "sketches_exact": by_sketch == expected,
        "join_exact": by_join == expected,
        "bytes_sketches": sum(len(one.to_bytes()) for one in sketches),
        "bytes_join": sum(map(len, sent)),
        "join_over_sketches_bytes": round(
            sum(map(len, sent)) / sum(len(one.to_bytes()) for one in sketches), 2
        ),
        "cpu_ms_compare_sketches": round(sketch_ms, 2),
        "cpu_ms_compare_join": round(join_ms, 2),
        "cpu_us_a_call_to_keep_the_sketch": round(keeping_us, 2),
    }


def _trials(draw: np.random.Generator, wrong: int) -> dict[str, Any]:
    exact = refused = 0
    for _ in range(TRIALS):
        settled, did, expected = _tables(draw, TRIAL_CALLS, wrong)
        differing = settled["tokens"] != did["tokens"]  # what agrees subtracts to nothing
        try:
            found = (_sketch(settled[differing]) - _sketch(did[differing])).decode()
        except SketchFull:
            refused += 1
            continue
        exact += found == expected
    return {"differences": wrong, "exact": exact, "refused": refused, "wrong": TRIALS - exact - refused}


def _tables(draw: np.random.Generator, calls: int, wrong: int) -> tuple[Table, Table, dict[int, int]]:
    """What was settled and what was done: calls that were never settled, were settled twice as high, or are off by some."""
    settled = np.empty(calls, _ROW)
    settled["name"] = draw.integers(0, 2**64, calls, dtype=np.uint64)
    settled["tokens"] = draw.integers(1, 4_096, calls)
    did = settled.copy()
    which = draw.choice(calls, wrong, replace=False)
    kinds = draw.integers(0, 3, wrong)
    tokens = settled["tokens"][which].astype(np.int64)
    did["tokens"][which] = np.where(kinds == 0, 0, np.where(kinds == 1, 2 * tokens, tokens + 17))
    expected = {int(settled["name"][i]): int(settled["tokens"][i]) - int(did["tokens"][i]) for i in which}
    return settled, did, expected


def _sketch(table: Table) -> Sketch:
    made = Sketch()
    for name, tokens in zip(table["name"].tolist(), table["tokens"].tolist(), strict=True):
        made.add(name, tokens)
    return made


def _by_sketch(sent: Sequence[bytes]) -> dict[int, int]:
    one, other = map(Sketch.from_bytes, sent)
    return (one - other).decode()


def _packed(table: Table) -> bytes:
    """As it is sent: rows, or, where that is smaller, compressed rows."""
    raw = table[table["tokens"] > 0].tobytes()
    return min(b"r" + raw, b"z" + zlib.compress(raw, 1), key=len)


def _by_join(sent: Sequence[bytes]) -> dict[int, int]:
    settled, did = (np.sort(np.frombuffer(_unpacked(one), _ROW), order="name") for one in sent)
    names = np.union1d(settled["name"], did["name"]).astype(np.uint64)
    tokens = [np.zeros(len(names), np.int64), np.zeros(len(names), np.int64)]
    for column, table in zip(tokens, (settled, did), strict=True):
        np.add.at(
            column, np.searchsorted(names, table["name"].astype(np.uint64)), table["tokens"].astype(np.int64)
        )
    differ = tokens[0] != tokens[1]
    by = tokens[0][differ] - tokens[1][differ]
    return dict(zip(names[differ].tolist(), by.tolist(), strict=True))


def _unpacked(content: bytes) -> bytes:
    return zlib.decompress(content[1:]) if content[:1] == b"z" else content[1:]


def _timed(work: Any) -> tuple[dict[int, int], float]:
    """What it finds, and the median of its CPU milliseconds."""
    took = []
    for _ in range(ROUNDS):
        started = time.process_time()
        found = work()
        took.append((time.process_time() - started) * 1000)
    return found, float(np.median(took))
