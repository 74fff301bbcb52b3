"""A sum of (call, tokens) pairs of fixed size: two of them are subtracted, and the calls that differ come out by name.

FermatSketch of ChameleMon (Yang et al., SIGCOMM 2023). In each of ROWS rows a call falls into one bucket; a bucket holds the sum
of amounts, and of amounts times names, modulo a prime. A bucket in which one call alone is left gives its name away, as the
second sum times the inverse of the first (by Fermat's little theorem, in the paper); that call is taken out of the other rows,
and so on. Everything is linear: sketches of several processes are added, those of the two sides subtracted.
"""

from __future__ import annotations

import struct
from hashlib import blake2b

from ..errors import ServingError

ROWS, BUCKETS = 4, 192
PRIME = 2**89 - 1
NAME_BITS = 64
CHECK_BITS = 24
"""Go along with each name, made of it by a hash: of two calls in one bucket the mean may be a name, but not with its check."""
CAPACITY = ROWS * BUCKETS // 2
"""So many differences come out whole, but for one pair of sketches in some 20,000, which is refused."""
_BUCKET = struct.Struct(">q12s")


class SketchFull(ServingError):
    """More calls differ than the sketch can name; a join of the tables does."""

    status = 409
    type = "sketch_full"


class Sketch:
    """Sums over calls; see the module."""

    __slots__ = ("_amounts", "_sums")

    def __init__(self) -> None:
        self._amounts = [0] * (ROWS * BUCKETS)
        self._sums = [0] * (ROWS * BUCKETS)

    def add(self, name: int, amount: int) -> None:
        """Add an amount, which may be negative, to the call of that name, a number of NAME_BITS bits."""
        checked, places = _hashed(name)
        weighted = checked * amount
        for place in places:
            self._amounts[place] += amount
            self._sums[place] = (self._sums[place] + weighted) % PRIME

    def __add__(self, other: Sketch) -> Sketch:
        return self._with(other, 1)

    def __sub__(self, other: Sketch) -> Sketch:
        return self._with(other, -1)

    def decode(self) -> dict[int, int]:
        """Every call whose amounts do not sum to nothing, with that sum. Raises SketchFull where they are too many."""
        left = self._with(Sketch(), 1)
        found: dict[int, int] = {}
        waiting = list(range(ROWS * BUCKETS))
        patience = (
            4 * ROWS * BUCKETS
        )  # each call that comes out may wake ROWS buckets; a wrong one must not go on for ever
        while waiting and patience:
            place = waiting.pop()
            name = left._alone(place)
            if name is None:
                continue
            patience -= 1
            amount = left._amounts[place]
            left.add(name, -amount)
            found[name] = found.get(name, 0) + amount
            waiting += _hashed(name)[1]
        if any(left._amounts) or any(left._sums):
            raise SketchFull(
                f"More calls differ than a sketch can name, which is {CAPACITY}.",
                "Join the tables: suresql ledger --join.",
            )
        return {name: amount for name, amount in found.items() if amount}

    def to_bytes(self) -> bytes:
        """Of the same size always: 20 bytes a bucket."""
        return b"".join(
            _BUCKET.pack(amount, total.to_bytes(12, "big"))
            for amount, total in zip(self._amounts, self._sums, strict=True)
        )

    @classmethod
    def from_bytes(cls, content: bytes) -> Sketch:
        """Raises ValueError for what `to_bytes` cannot have made."""
        if len(content) != ROWS * BUCKETS * _BUCKET.size:
            raise ValueError(f"a sketch has {ROWS * BUCKETS * _BUCKET.size} bytes; found {len(content)}")
        made = cls()
        for place, (amount, total) in enumerate(_BUCKET.iter_unpack(content)):
            made._amounts[place] = amount
            made._sums[place] = int.from_bytes(total, "big")
            if made._sums[place] >= PRIME:
                raise ValueError("a sum in the sketch is not below its prime")
        return made

    def _with(self, other: Sketch, sign: int) -> Sketch:
        made = Sketch()
        made._amounts = [a + sign * b for a, b in zip(self._amounts, other._amounts, strict=True)]
        made._sums = [(a + sign * b) % PRIME for a, b in zip(self._sums, other._sums, strict=True)]
        return made

    def _alone(self, place: int) -> int | None:
        """The name of the one call in a bucket; None where there is none or are several."""
        amount = self._amounts[place]
        if amount % PRIME == 0:
            return None
        checked = self._sums[place] * pow(amount, -1, PRIME) % PRIME
        name = checked >> CHECK_BITS
        if name >= 2**NAME_BITS:
            return None
        expected, places = _hashed(name)
        return name if checked == expected and place in places else None


def _hashed(name: int) -> tuple[int, tuple[int, ...]]:
    """A call's name with its check, and its bucket in each row."""
    digest = blake2b(name.to_bytes(8, "big"), digest_size=4 * ROWS + CHECK_BITS // 8).digest()
    check = int.from_bytes(digest[4 * ROWS :], "big")
    places = tuple(
        row * BUCKETS + int.from_bytes(digest[4 * row : 4 * row + 4], "big") % BUCKETS for row in range(ROWS)
    )
    return name << CHECK_BITS | check, places
