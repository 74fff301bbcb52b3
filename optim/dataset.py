"""Tokenised examples as flat arrays on disk, and batches of them as a function of (seed, step)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
import torch

from optim.errors import DataError
from optim.loop import MicroBatch

NO_TARGET = -100
WINDOW = 8192  # examples sorted by length together: enough that neighbours are of a length, few enough to mix


@dataclass(frozen=True)
class TokenDataset:
    """Example i is `tokens[offsets[i]:offsets[i + 1]]`; where `learned` is true, a token bears loss."""

    tokens: np.ndarray
    learned: np.ndarray
    offsets: np.ndarray
    task: np.ndarray
    weight: np.ndarray
    tasks: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each example."""
        return np.diff(self.offsets)

    def write(self, folder: Path, with_files: Callable[[Path], object] | None = None) -> None:
        """Make `folder`, whole or not at all; `with_files` may save more into the folder it is given.

        Raises `DataError` if the folder cannot be written or the disk is full.
        """
        temporary = folder.with_name(folder.name + ".writing.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            temporary.mkdir(parents=True)
            for name in ("tokens", "learned", "offsets", "task", "weight"):
                np.save(temporary / f"{name}.npy", getattr(self, name))
            (temporary / "tasks.json").write_text(json.dumps(self.tasks), encoding="utf-8")
            if with_files:
                with_files(temporary)
            temporary.rename(folder)
        except OSError as error:
            raise DataError(
                f"the tokenised data could not be written to {folder}: {error}; "
                "free some space there or choose another output.run"
            ) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)  # after an error or Ctrl-C: else it is gone already

    @staticmethod
    def read(folder: Path) -> TokenDataset:
        """Open what `write` saved; the tokens stay on disk until they are used."""
        try:
            tasks = tuple(json.loads((folder / "tasks.json").read_text(encoding="utf-8")))
            return TokenDataset(
                np.load(folder / "tokens.npy", mmap_mode="r"),
                np.load(folder / "learned.npy"),
                np.load(folder / "offsets.npy"),
                np.load(folder / "task.npy"),
                np.load(folder / "weight.npy"),
                tasks,
            )
        except (OSError, ValueError) as error:
            raise DataError(
                f"the tokenised data in {folder} is damaged: {error}; remove that folder to make it anew"
            ) from error

    def collate(self, rows: Sequence[int] | np.ndarray) -> MicroBatch:
        """tokens_BT and targets_BT of these examples, padded on the right; only learned tokens are targets."""
        parts = [slice(self.offsets[row], self.offsets[row + 1]) for row in rows]
        width = max(part.stop - part.start for part in parts) - 1
        tokens_BT = np.zeros((len(rows), width), dtype=np.int64)
        targets_BT = np.full((len(rows), width), NO_TARGET, dtype=np.int64)
        for i, part in enumerate(parts):
            sequence, learned = self.tokens[part].astype(np.int64), self.learned[part]
            tokens_BT[i, : len(sequence) - 1] = sequence[:-1]
            targets_BT[i, : len(sequence) - 1] = np.where(learned[1:], sequence[1:], NO_TARGET)
        return torch.from_numpy(tokens_BT), torch.from_numpy(targets_BT)


class DatasetBuilder:
    """Collects tokenised examples; those longer than `max_length` are counted by task instead."""

    def __init__(self, vocabulary: int, max_length: int) -> None:
        self._dtype = np.uint16 if vocabulary <= 1 << 16 else np.int32
        self._max_length = max_length
        self._tokens: list[np.ndarray] = []
        self._learned: list[np.ndarray] = []
        self._rows: list[tuple[int, float]] = []
        self._tasks: dict[str, int] = {}
        self.counts: dict[str, list[int]] = {}
        """By task: examples kept, examples dropped, tokens kept."""

    def add(
        self,
        prompt: Sequence[int],
        target: Sequence[int],
        task: str,
        weight: float = 1.0,
        learned: Sequence[bool] | None = None,
    ) -> None:
        """Take one example: token ids of prompt and target; `weight` is how often an epoch shows it, on average.

        All of the target is learned, and of the prompt what `learned` says: nothing, if None.
        """
        counts = self.counts.setdefault(task, [0, 0, 0])
        length = len(prompt) + len(target)
        if length > self._max_length or not target or length < 2:
            counts[1] += 1
            return
        counts[0] += 1
        counts[2] += length
        self._tokens.append(np.array([*prompt, *target], dtype=self._dtype))
        in_prompt = [False] * len(prompt) if learned is None else list(learned)
        self._learned.append(np.array(in_prompt + [True] * len(target), dtype=bool))
        self._rows.append((self._tasks.setdefault(task, len(self._tasks)), weight))

    def build(self) -> TokenDataset:
        """The dataset; `DataError` if nothing was kept."""
        if not self._rows:
            raise DataError(
                f"no training example of at most {self._max_length} tokens; by task (kept, dropped, tokens): "
                f"{self.counts}. Check [data], or raise train.max_length"
            )
        task, weight = zip(*self._rows, strict=True)
        return TokenDataset(
            np.concatenate(self._tokens),
            np.concatenate(self._learned),
            np.concatenate([[0], np.cumsum([len(part) for part in self._tokens])]).astype(np.int64),
            np.array(task, dtype=np.int16),
            np.array(weight, dtype=np.float32),
            tuple(self._tasks),
        )


@dataclass(frozen=True)
class Batcher:
    """Batches of about `batch_tokens` tokens, padding included, of the examples `rows`; the door of
    `optim.loop`.

    Which examples a step's batch holds follows from the dataset, `rows`, `batch_tokens`, the seed and the
    step alone; which of their tokens are targets, from the dataset. Rank r of `world` takes every world-th
    example of it, and cuts its share into `accumulate` micro-batches.
    """

    dataset: TokenDataset
    rows: np.ndarray
    batch_tokens: int
    seed: int
    accumulate: int = 1
    rank: int = 0
    world: int = 1

    def __call__(self, step: int) -> Iterator[list[MicroBatch]]:
        """The batches from `step` on, without end."""
        for batch in self.batches_of_rows(step):
            if len(batch) < self.world:
                raise DataError(
                    f"a batch of {len(batch)} examples cannot be shared among {self.world} ranks; "
                    "raise train.batch_tokens or use fewer ranks"
                )
            share = batch[self.rank :: self.world]
            cuts = [share[i :: self.accumulate] for i in range(self.accumulate)]
            yield [self.dataset.collate(cut) for cut in cuts if len(cut)]

    def batches_of_rows(self, step: int) -> Iterator[np.ndarray]:
        """The same as indices of examples, for all ranks together."""
        for epoch in count():
            batches = self.epoch(epoch)
            yield from batches[step:]
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
