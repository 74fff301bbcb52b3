"""Orders of a queue by the time that requests are expected to take, beside the one that is shipped (`gateway.fair.aged`)."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from functools import partial

from ..gateway.fair import Order

THRESHOLDS = (0.5, 1.5)
"""Seconds, of the static classes."""
TOKENS_PER_S = 50.0
"""How fast a request was once taken to be, whatever it asked for."""


def first_come(now: float, seconds: float) -> tuple[float, ...]:
    """By arrival."""
    return (now,)


def static(now: float, seconds: float) -> tuple[float, ...]:
    """Classes by fixed thresholds, the shorter class first; by arrival within one."""
    return (bisect_left(THRESHOLDS, seconds), now)


def shortest(now: float, seconds: float) -> tuple[float, ...]:
    """The least expected first: the least mean, and a long one may wait for ever."""
    return (seconds, now)


def by_tokens(now: float, seconds: float) -> tuple[float, ...]:
    """What the gateway did before: a second later for each TOKENS_PER_S tokens of prompt and limit."""
    return (now + seconds,)


class Clusters:
    """Classes by clusters of what the latest requests were expected to take, retuned as these change; by arrival within one.

    After what issue 6 tells of QCluster (self-tuning clusters; the paper itself was not at hand): one-dimensional k-means on
    logarithms of the last `window` requests, as many clusters up to `most` as each lower the spread within by a third or more.
    """

    def __init__(self, window: int = 128, every: int = 16, most: int = 4) -> None:
        self._latest: deque[float] = deque(maxlen=window)
        self._every, self._most = every, most
        self._seen = 0
        self.bounds: list[float] = []

    def __call__(self, now: float, seconds: float) -> tuple[float, ...]:
        self._latest.append(math.log(max(1e-3, seconds)))
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
        **{f"arrival_plus_{times}_times_expected": partial(_plus, times) for times in (1, 4, 16)},
    }


def _plus(times: float) -> Order:
    return lambda now, seconds: (now + times * seconds,)


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
