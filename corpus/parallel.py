"""The same work on many numbers, by all processors where the system can fork."""

import multiprocessing
import os
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")
FEW = 200
"""Up to so many numbers the pool is not worth its start."""

_work: Callable[[int], object]


def in_order(work: Callable[[int], T], count: int) -> Iterator[T]:
    """`work(0)`, `work(1)`, ... in this order. Forked processes see what `work` refers to as it is now."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    if processors == 1 or count <= FEW or "fork" not in multiprocessing.get_all_start_methods():
        yield from map(work, range(count))
        return
    global _work
    _work = work
    with multiprocessing.get_context("fork").Pool(processors) as pool:
        yield from pool.imap(_run, range(count), chunksize=16)  # type: ignore[arg-type]


def _run(number: int) -> object:
    return _work(number)
