"""Names of a schema that mean about the same as a word: by word vectors that somebody else computes."""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Embed = Callable[[Sequence[str]], NDArray[np.float32]]
"""Texts to unit vectors, one row a text."""

LEAST = 0.5
"""Cosine from which a name is near; with all-MiniLM-L6-v2 57% of what is found on Spider-Syn is in the known SQL."""
TIE = 0.02
MOST = 3
REMEMBERED = 50_000
"""Texts whose vectors are kept, unless told otherwise; beyond, all are computed anew."""


class Nearness:
    """Compares words with names. Vectors are kept, so that a word costs a pass of the embedder once."""

    def __init__(self, embed: Embed, least: float = LEAST, remembered: int = REMEMBERED):
        self.least = least
        self.remembered = remembered
        self._embed = embed
        self._vectors: dict[str, NDArray[np.float32]] = {}
        self._names = lru_cache(maxsize=64)(self._stack)

    def __call__(self, words: Sequence[str], names: tuple[str, ...]) -> list[list[int]]:
        """For each word the indices of its nearest names, MOST at most: the best and what ties with it; or none."""
        if not words or not names:
            return [[] for _ in words]
        cosines = self._stack(tuple(words)) @ self._names(names).T
        found = []
        for row in cosines:
            floor = max(self.least, float(row.max()) - TIE)
            best = np.argsort(-row, kind="stable")[:MOST]
            found.append([int(i) for i in best if row[i] >= floor])
        return found

    def closest(self, words: Sequence[str], names: tuple[str, ...]) -> list[int]:
        """All names, those first that one of the words comes closest to."""
        if not words or not names:
            return []
        cosines = self._names(names) @ self._stack(tuple(words)).T
        return [int(i) for i in np.argsort(-cosines.max(axis=1), kind="stable")]

    def learn(self, texts: Sequence[str]) -> None:
        """Compute the vectors of many texts at once."""
        if texts:
            self._stack(tuple(texts))

    def _stack(self, texts: tuple[str, ...]) -> NDArray[np.float32]:
        fresh = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        known = {text: self._vectors[text] for text in texts if text in self._vectors}
        if fresh:
            if len(self._vectors) > self.remembered:
                self._vectors = {}
            known.update(zip(fresh, self._embed(fresh), strict=True))
            self._vectors.update(known)
        return np.stack([known[text] for text in texts])
