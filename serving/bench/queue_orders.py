"""Orders of a queue by what requests are expected to take, beside the one that is shipped (`gateway.fair.aged`)."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left
from collections import deque
from collections.abc import Callable

from ..gateway.fair import Order, aged

THRESHOLDS = (128.0, 256.0)
"""Tokens, of the static classes."""


def first_come(now: float, tokens: float) -> tuple[float, ...]:
    """By arrival."""
    return (now,)


def static(now: float, tokens: float) -> tuple[float, ...]:
    """Classes by fixed thresholds, the shorter class first; by arrival within one."""
    return (bisect_left(THRESHOLDS, tokens), now)


def shortest(now: float, tokens: float) -> tuple[float, ...]:
    """The least expected first: the least mean, and a long one may wait for ever."""
    return (tokens, now)


class Clusters:
    """Classes by clusters of the latest requests' expected lengths, retuned as these change; by arrival within one.

    After what issue 6 tells of QCluster (self-tuning clusters; the paper itself was not at hand): one-dimensional k-means on
    logarithms of the last `window` requests, as many clusters up to `most` as each lower the spread within by a third or more.
    """

    def __init__(self, window: int = 128, every: int = 16, most: int = 4) -> None:
        self._latest: deque[float] = deque(maxlen=window)
        self._every, self._most = every, most
        self._seen = 0
        self.bounds: list[float] = []

    def __call__(self, now: float, tokens: float) -> tuple[float, ...]:
        self._latest.append(math.log(max(1.0, tokens)))
        self._seen += 1
        if self._seen % self._every == 0:
            self.bounds = _bounds(sorted(self._latest), self._most)
        return (bisect_left(self.bounds, self._latest[-1]), now)


def orders() -> dict[str, Callable[[], Order]]:
    """Each by its name, made anew where it learns."""
    return {
        "first_come": lambda: first_come,
        "static_thresholds": lambda: static,
        "shortest_first": lambda: shortest,
        "self_tuning_clusters": Clusters,
        "arrival_plus_expected": lambda: aged,
    }


def _bounds(values: list[float], most: int) -> list[float]:
    """Between clusters of sorted values."""
    best, spread = [sum(values) / len(values)], _spread(values, [sum(values) / len(values)])
    for count in range(2, most + 1):
        centres = _means(values, [values[(2 * i + 1) * len(values) // (2 * count)] for i in range(count)])
        found = _spread(values, centres)
        if found > spread * 2 / 3:
            break
        best, spread = centres, found
    return [(a + b) / 2 for a, b in itertools.pairwise(best)]


def _means(values: list[float], centres: list[float]) -> list[float]:
    """Lloyd's algorithm, which in one dimension keeps the centres in order."""
    for _ in range(20):
        bounds = [(a + b) / 2 for a, b in itertools.pairwise(centres)]
        groups: list[list[float]] = [[] for _ in centres]
        for value in values:
            groups[bisect_left(bounds, value)].append(value)
        new = [sum(group) / len(group) if group else c for group, c in zip(groups, centres, strict=True)]
        if new == centres:
            break
        centres = new
    return centres


def _spread(values: list[float], centres: list[float]) -> float:
    return sum(min((value - centre) ** 2 for centre in centres) for value in values)
