"""Batches of tokenised examples as a function of (seed, step): the same on any number of ranks, and on a run that was resumed."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from typing import Any

import numpy as np

from optim.dataset import TokenDataset
from optim.errors import DataError
from optim.loop import MicroBatch

WINDOW = 8192  # examples sorted by length together: enough that neighbours are of a length, few enough to mix


@dataclass
class Batcher:
    """Batches of about `batch_tokens` tokens, padding included, of the examples `rows`; the door of
    `optim.loop`, and a part of its checkpoints.

    Which examples a step's batch holds follows from the dataset, `rows`, `batch_tokens`, the seed and the
    step alone; which of their tokens are targets, from the dataset. Micro-batch i of rank r of `world` is every
    (world * accumulate)-th example of it, from i * world + r on: n ranks with m micro-batches each have those of one rank
    with n * m. Every rank has equally many.
    """

    dataset: TokenDataset
    rows: np.ndarray
    batch_tokens: int
    seed: int
    accumulate: int = 1
    rank: int = 0
    world: int = 1
    step: int = field(default=0, init=False)
    """How many batches were taken."""
    place: tuple[int, int] = field(default=(0, 0), init=False)
    """The same as an epoch and the batches taken in it."""
    warning: str | None = field(default=None, init=False)
    """What is different since the state that was loaded was saved."""

    def __call__(self, step: int) -> Iterator[list[MicroBatch]]:
        """The batches from `step` on, without end."""
        for taken, batch in enumerate(self.batches_of_rows(step), step + 1):
            self.step = taken
            if len(batch) < self.world:
                raise DataError(
                    f"a batch of {len(batch)} examples cannot be shared among {self.world} ranks; "
                    "raise train.batch_tokens or use fewer ranks"
                )
            accumulate = min(self.accumulate, len(batch) // self.world)
            firsts = range(self.rank, self.world * accumulate, self.world)
            yield [self.dataset.collate(batch[first :: self.world * accumulate]) for first in firsts]

    def state_dict(self) -> dict[str, Any]:
        """For checkpoints: where the run stands in its data, and which data they are."""
        return {"step": self.step, "epoch": self.place[0], "batch": self.place[1], **self._identity}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there; `warning` says if these are not the data, or not the batches, that the state is of."""
        self.step, self.place = state["step"], (state["epoch"], state["batch"])
        differing = [
            f"{key} {state.get(key)}, now {value}"
            for key, value in self._identity.items()
            if state.get(key) != value
        ]
        self.warning = "; ".join(differing) or None

    @cached_property
    def _identity(self) -> dict[str, Any]:
        checksum = zlib.crc32(self.rows.tobytes())
        for array in (self.dataset.offsets, self.dataset.weight, self.dataset.tokens):
            checksum = zlib.crc32(array.tobytes(), checksum)
        return {
            "examples": len(self.rows),
            "checksum": checksum,
            "seed": self.seed,
            "batch_tokens": self.batch_tokens,
        }

    def batches_of_rows(self, step: int) -> Iterator[np.ndarray]:
        """The same as indices of examples, for all ranks together."""
        for epoch in count():
            batches = self.epoch(epoch)
            for place in range(step, len(batches)):
                self.place = epoch, place + 1
                yield batches[place]
            step = max(0, step - len(batches))

    def epoch(self, epoch: int) -> list[np.ndarray]:
        """One pass over the examples: shuffled, sorted by length in windows, cut, the batches shuffled."""
        random = np.random.default_rng((self.seed, epoch))
        weight = self.dataset.weight[self.rows]
        rows = np.repeat(self.rows, np.floor(weight + random.random(len(weight))).astype(np.int64))
        random.shuffle(rows)
        lengths = self.dataset.lengths
        batches: list[np.ndarray] = []
        for start in range(0, len(rows), WINDOW):
            window = rows[start : start + WINDOW]
            window = window[np.argsort(-lengths[window], kind="stable")]
            batches += _cut(window, lengths[window], self.batch_tokens)
        if not batches:
            raise DataError(
                f"epoch {epoch} has no example; the weights of the {len(self.rows)} examples are too low"
            )
        order = random.permutation(len(batches))
        return [batches[i] for i in order]


def _cut(rows: np.ndarray, lengths: np.ndarray, batch_tokens: int) -> list[np.ndarray]:
    """Cut rows, longest first, into batches of at most `batch_tokens` tokens, but of one example at least.

    A remainder of less than half a batch is shared with the batch before it: every step weighs the same to
    Muon, so no batch may be tiny.
    """
    starts = [0]
    for i in range(len(rows)):
        if i > starts[-1] and int(lengths[starts[-1]]) * (i - starts[-1] + 1) > batch_tokens:
            starts.append(i)
    if len(starts) > 1 and 2 * int(lengths[starts[-1]]) * (len(rows) - starts[-1]) < batch_tokens:
        starts[-1] = min(starts[-1], (starts[-2] + len(rows) + 1) // 2)
    return np.split(rows, starts[1:])
