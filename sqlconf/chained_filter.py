"""Which values stand in which columns, in about eight bits a value: a ChainedFilter (Li, Zheng, Yang et al., SIGMOD 2024).

A filter that may let strangers pass, and behind it one that tells exactly those apart that are known to pass wrongly. Known
strangers of a column are all values of other columns: a literal in the wrong column, the slip that `sqlconf.grounding` looks
for, is never let pass, and a text of nowhere with a probability of 2^-(`BITS` + 1). It serves where the scorer is apart from
the database, or where columns hold so many values that a set is too large; on a small database a set is simpler and faster.

Both stages are Bloomier filters on three slots a key (Chazelle et al., SODA 2004), peeled whole rounds at a time.
"""

import hashlib
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from sqlconf.errors import ConfidenceError

Keys = NDArray[np.uint64]
Column = tuple[str, str]

BITS = 8
"""Of a fingerprint in the first stage: 4 take the least room for known strangers, 8 keep unknown ones out as well."""
ROOM, SPARE = 1.23, 32
"""Slots for each key, and some more: from here on three random slots a key can be peeled (Botelho et al., 2007)."""
TRIES = 64
OTHERS = 64
"""Columns that a value is known not to be of, drawn where there are more: others let it pass as they do an unknown text."""
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def hashed(items: Iterable[str]) -> Keys:
    """64 bits of each text."""
    digests = [
        hashlib.blake2b(item.encode("utf-8", "surrogatepass"), digest_size=8).digest() for item in items
    ]
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


@dataclass(frozen=True)
class Bloomier:
    """A function of `bits` bits, right on the keys that it was built of and arbitrary elsewhere."""

    slots: NDArray[np.uint8]
    bits: int
    seed: int

    @classmethod
    def build(cls, keys: Keys, values: NDArray[np.uint8], bits: int) -> Self:
        """`keys` are distinct. Raises ConfidenceError where no seed of many can be peeled."""
        if not 1 <= bits <= 8:
            raise ConfidenceError(f"{bits} bits a key; a slot holds 1 to 8")
        size = max(3, int(ROOM * len(keys)) + SPARE)
        size += -size % 3
        for seed in range(TRIES):
            slot_N3 = _slots(keys, seed, size)
            rounds = _peel(slot_N3, size)
            if rounds is not None:
                slots = np.zeros(size, dtype=np.uint8)
                for key_M, own_M in reversed(rounds):
                    others = np.bitwise_xor.reduce(slots[slot_N3[key_M]], axis=1) ^ slots[own_M]
                    slots[own_M] = values[key_M] ^ others
                return cls(slots, bits, seed)
        raise ConfidenceError(f"{len(keys)} keys cannot be peeled with {TRIES} seeds; are they distinct?")

    def __call__(self, keys: Keys) -> NDArray[np.uint8]:
        found: NDArray[np.uint8] = np.bitwise_xor.reduce(
            self.slots[_slots(keys, self.seed, len(self.slots))], axis=1
        )
        return found

    @property
    def space_bits(self) -> int:
        """As many as it needs written densely; in memory each slot takes a byte."""
        return len(self.slots) * self.bits


@dataclass(frozen=True)
class ChainedFilter:
    """Lets every positive pass, no known negative, and of other keys 2^-(bits + 1) or, without known negatives, 2^-bits."""

    approximate: Bloomier
    exact: Bloomier | None
    """One bit: 1 for positives, 0 for the known negatives that the first stage lets pass; None where there are none."""

    @classmethod
    def build(cls, positives: Keys, negatives: Keys, bits: int = BITS) -> Self:
        """Raises ConfidenceError for a key that is both."""
        positives, negatives = np.unique(positives), np.unique(negatives)
        if np.intersect1d(positives, negatives, assume_unique=True).size:
            raise ConfidenceError("a key is positive and negative at the same time")
        first = Bloomier.build(positives, _fingerprints(positives, bits), bits)
        passing = negatives[first(negatives) == _fingerprints(negatives, bits)]
        if not len(passing):
            return cls(first, None)
        keys = np.concatenate([positives, passing])
        wanted = np.zeros(len(keys), dtype=np.uint8)
        wanted[: len(positives)] = 1
        return cls(first, Bloomier.build(keys, wanted, 1))

    def contains(self, keys: Keys) -> NDArray[np.bool_]:
        passed: NDArray[np.bool_] = self.approximate(keys) == _fingerprints(keys, self.approximate.bits)
        return passed if self.exact is None else passed & (self.exact(keys) == 1)

    @property
    def space_bits(self) -> int:
        return self.approximate.space_bits + (0 if self.exact is None else self.exact.space_bits)


class FilteredContents:
    """Values by column without the values: grounding's `ContentsView`, of a filter over (column, folded value)."""

    def __init__(self, places: Mapping[str, Iterable[Column]], bits: int = BITS):
        """`places` are the columns that hold each folded value."""
        held = {value: set(columns) for value, columns in places.items()}
        self.columns: Sequence[Column] = sorted(set().union(*held.values()))
        dice = random.Random(0)
        yes, no = [], []
        for value, own in held.items():
            yes += [_key(column, value) for column in sorted(own)]
            others = [column for column in self.columns if column not in own]
            some = others if len(others) <= OTHERS else dice.sample(others, OTHERS)
            no += [_key(column, value) for column in some]
        self.positives, self.negatives = len(yes), len(no)
        self.filter = ChainedFilter.build(hashed(yes), hashed(no), bits)

    def find(self, text: str) -> dict[Column, str]:
        """The columns that hold `text`, case and spacing folded; the spelling there is not known."""
        folded = " ".join(text.casefold().split())
        if not self.columns:
            return {}
        found = self.filter.contains(hashed(_key(column, folded) for column in self.columns))
        return {column: folded for column, here in zip(self.columns, found, strict=True) if here}


def information_bound_bits(positives: int, negatives: int) -> float:
    """The fewest bits with which positives can be told from known negatives: the entropy of which of all are positive."""
    every = positives + negatives
    shares = [count / every for count in (positives, negatives) if count]
    return float(-every * sum(share * np.log2(share) for share in shares))


def _key(column: Column, value: str) -> str:
    return "\0".join((*column, value))


def _mixed(keys: Keys, seed: int) -> Keys:
    """SplitMix64's end, with another stream for each seed."""
    with np.errstate(over="ignore"):
        x = keys + _GOLDEN * np.uint64(seed + 1)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def _slots(keys: Keys, seed: int, size: int) -> NDArray[np.intp]:
    """Three slots of each key, one in each third."""
    third = np.uint64(size // 3)
    return np.stack(
        [(_mixed(keys, 3 * seed + i) % third + np.uint64(i) * third).astype(np.intp) for i in range(3)],
        axis=1,
    )


def _fingerprints(keys: Keys, bits: int) -> NDArray[np.uint8]:
    return (_mixed(keys, 10_007) >> np.uint64(64 - bits)).astype(np.uint8)


def _peel(slot_N3: NDArray[np.intp], size: int) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]] | None:
    """Rounds of (keys, each one's own slot, which no key that is left then has), or None where a core remains.

    The sum of the numbers of the keys in a slot is the key's number where there is one.
    """
    degree = np.bincount(slot_N3.ravel(), minlength=size)
    total = np.zeros(size, dtype=np.int64)
    np.add.at(total, slot_N3.ravel(), np.repeat(np.arange(len(slot_N3)), 3))
    rounds, left = [], len(slot_N3)
    while left:
        alone = np.flatnonzero(degree == 1)
        key_M, first_M = np.unique(total[alone], return_index=True)
        if not len(key_M):
            return None
        rounds.append((key_M.astype(np.intp), alone[first_M]))
        gone = slot_N3[key_M].ravel()
        np.subtract.at(degree, gone, 1)
        np.subtract.at(total, gone, np.repeat(key_M, 3))
        left -= len(key_M)
    return rounds
