"""Which words of the question nothing in the SQL stands for, while a name of the schema that the SQL leaves out would.

Alignment by the best match of each word, as in late interaction (ColBERT, arXiv 2004.12832), between the question's content
words and the words of the names that the SQL uses; names are few and words are short, so that their vectors are kept.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlglot import exp

from sqlconf.embedding import Embedder
from sqlconf.naming import humanise
from sqlconf.once import Once
from sqlconf.signal import Answer, Cost, Reading
from sqlconf.statement import read
from sqlconf.wording import stems

_NO_CONTENT = """
    a an the of in on at to for from by with and or not is are was were be been do does did have has had what which
    who whom whose when where how many much show list give find tell me return all each every any some that this these
    those there their its it they them than then more less most least number count total average mean sum maximum
    minimum max min highest lowest largest smallest biggest top first last different distinct unique names name id ids
    as per please can could would i we you also both either neither but only same other between over under above below
    after before up down one two three order ordered sorted sort ascending descending alphabetical alphabetically
    along together respectively corresponding list out if any no nor so using used use value values information
    details record records
"""
_GRAMMAR = frozenset(_NO_CONTENT.split())
_WORD = re.compile(r"[^\W\d_]{2,}")


NEAR = 0.5
"""A word and a name that are less alike than this have nothing to do with each other, as it were."""
CLEARLY = 0.15
"""By so much a name must be more like a word than another to be a better one."""


@dataclass(frozen=True)
class Alignment:
    """How the question's content words and the names of the schema go together, as likenesses up to 1."""

    covered: float
    """Mean over content words of the likeness to what the SQL uses."""
    preferred: float
    """By how much, at most, a name that the SQL leaves out is more like a word than all that it uses."""
    word: str
    name: str
    least: float
    """Of the word that the SQL covers worst."""
    uncovered: int
    """Words that nothing in the SQL is near."""
    better: int
    """Words for which the schema has a clearly better name."""
    offered: float
    """Mean over content words of the likeness to anything in the schema: what the schema knows of the question."""
    offered_least: float
    said: float
    """Mean over the names that the SQL uses of the likeness to a word: what the question knows of the SQL."""
    said_least: float
    unsaid: int
    """Names that no word is near."""


class Aligner:
    """Aligns once for all signals that read it."""

    def __init__(self, embedder: Embedder):
        self._embedder = embedder
        self.alignments = Once(self._align)
        """Each answer's, or why it has none."""

    def signals(self) -> "tuple[Coverage, BetterName]":
        return Coverage(self), BetterName(self)

    def _align(self, answers: Sequence[Answer]) -> list[Alignment | str]:
        parts = [_parts(answer) for answer in answers]
        words = sorted(
            {
                word
                for one in parts
                if not isinstance(one, str)
                for word in (*one.words, *(w for name in (*one.used, *one.unused) for w in name.split()))
            }
        )
        vectors = dict(zip(words, self._embedder.embed(words), strict=True)) if words else {}
        return [one if isinstance(one, str) else _align(one, vectors) for one in parts]


class Coverage:
    """How well the SQL's names cover the question's content words."""

    name = "coverage"
    cost = Cost.EMBEDDING

    def __init__(self, aligner: Aligner):
        self._aligner = aligner

    def measure(self, answers: Sequence[Answer]) -> list[Reading]:
        return [
            Reading(self.name, None, note=one) if isinstance(one, str) else Reading(self.name, one.covered)
            for one in self._aligner.alignments(answers)
        ]


class BetterName:
    """1 where no name that the SQL leaves out fits a word of the question better than what it uses."""

    name = "better_name"
    cost = Cost.EMBEDDING

    def __init__(self, aligner: Aligner):
        self._aligner = aligner

    def measure(self, answers: Sequence[Answer]) -> list[Reading]:
        return [self._read(one) for one in self._aligner.alignments(answers)]

    def _read(self, one: Alignment | str) -> Reading:
        if isinstance(one, str):
            return Reading(self.name, None, note=one)
        note = (
            f"“{one.word}” is nearer to {one.name}, which the SQL leaves out" if one.preferred > 0.1 else ""
        )
        return Reading(self.name, 1 - min(1.0, max(0.0, one.preferred)), note=note)


@dataclass(frozen=True)
class _Parts:
    words: tuple[str, ...]
    used: tuple[str, ...]
    unused: tuple[str, ...]


def _parts(answer: Answer) -> _Parts | str:
    statement = read(answer.sql)
    if statement is None:
        return "the SQL is not one query that parses"
    tables = {place.node.name.casefold() for place in statement.all(exp.Table)}
    columns = {place.node.name.casefold() for place in statement.all(exp.Column)}
    literals = {
        word.casefold() for place in statement.all(exp.Literal) for word in _WORD.findall(place.node.name)
    }
    words = tuple(
        dict.fromkeys(
            word
            for word in map(str.casefold, _WORD.findall(answer.question))
            if word not in _GRAMMAR and word not in literals
        )
    )
    if not words:
        return "the question has no content words"
    used: list[str] = []
    unused: list[str] = []
    for table in answer.schema.tables:
        here = table.name.casefold() in tables
        (used if here else unused).append(humanise(table.name))
        for column in table.columns:
            (used if here and column.name.casefold() in columns else unused).append(humanise(column.name))
    if not used:
        return "the SQL uses no name of the schema"
    own = set(used)
    return _Parts(words, tuple(dict.fromkeys(used)), tuple(dict.fromkeys(n for n in unused if n not in own)))


def _align(parts: _Parts, vectors: dict[str, NDArray[np.float32]]) -> Alignment:
    used_WN = _likenesses(parts.words, parts.used, vectors)
    used_W, said_N = used_WN.max(axis=1), used_WN.max(axis=0)
    best_W, preferred, word, name = used_W, 0.0, "", ""
    if parts.unused:
        unused_WN = _likenesses(parts.words, parts.unused, vectors)
        best_W = np.maximum(used_W, unused_WN.max(axis=1))
        gain_W = unused_WN.max(axis=1) - used_W
        at = int(gain_W.argmax())
        preferred, word, name = float(gain_W[at]), parts.words[at], parts.unused[int(unused_WN[at].argmax())]
    return Alignment(
        covered=float(np.clip(used_W, 0, 1).mean()),
        preferred=preferred,
        word=word,
        name=name,
        least=float(used_W.min()),
        uncovered=int((used_W < NEAR).sum()),
        better=int((best_W - used_W > CLEARLY).sum()),
        offered=float(np.clip(best_W, 0, 1).mean()),
        offered_least=float(best_W.min()),
        said=float(said_N.mean()),
        said_least=float(said_N.min()),
        unsaid=int((said_N < NEAR).sum()),
    )


def _likenesses(
    words: Sequence[str], names: Sequence[str], vectors: dict[str, NDArray[np.float32]]
) -> NDArray[np.float64]:
    return np.array([[_likeness(word, name, vectors) for name in names] for word in words])


def _likeness(word: str, name: str, vectors: dict[str, NDArray[np.float32]]) -> float:
    """The best cosine of the word with one of the name's; 1 for the same stem."""
    own = set(stems(word))
    return max(
        1.0 if own & set(stems(part)) else float(vectors[word] @ vectors[part]) for part in name.split()
    )
