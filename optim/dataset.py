"""Tokenised examples as flat arrays on disk, and batches of them as a function of (seed, step)."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from optim.errors import DataError
from optim.loop import MicroBatch

NO_TARGET = -100
WINDOW = 8192  # examples sorted by length together: enough that neighbours are of a length, few enough to mix


ARRAYS = ("tokens", "learned", "branch", "task", "offsets", "weight")
PADDING = np.iinfo(np.int16).min  # the branch of padding


class Branch(NamedTuple):
    """Token ids of what goes on from a trunk; of `prompt`, `learned` says what bears loss. A branch `alone` does not
    see the trunk.
    """

    prompt: Sequence[int]
    target: Sequence[int]
    task: str
    learned: Sequence[bool]
    alone: bool = False


@dataclass(frozen=True)
class TokenDataset:
    """Example i is `tokens[offsets[i]:offsets[i + 1]]`; where `learned` is true, a token bears loss.

    An example may be a trunk (`branch` 0) and several branches that do not see each other: 1, 2, ... see the trunk,
    -1, -2, ... see nothing but themselves. `task` is each token's.
    """

    tokens: np.ndarray
    learned: np.ndarray
    branch: np.ndarray
    task: np.ndarray
    offsets: np.ndarray
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
            for name in ARRAYS:
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
            arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS}
            return TokenDataset(**arrays, tasks=tasks)
        except (OSError, ValueError) as error:
            raise DataError(
                f"the tokenised data in {folder} is damaged: {error}; remove that folder to make it anew"
            ) from error

    def collate(self, rows: Sequence[int] | np.ndarray, task: int | None = None) -> MicroBatch:
        """tokens_BT and targets_BT of these examples, padded on the right; only learned tokens, of one task if it
        is given, are targets. branch_BT follows where an example has branches.
        """
        parts = [slice(self.offsets[row], self.offsets[row + 1]) for row in rows]
        width = max(part.stop - part.start for part in parts) - 1
        tokens_BT = np.zeros((len(rows), width), dtype=np.int64)
        targets_BT = np.full((len(rows), width), NO_TARGET, dtype=np.int64)
        branch_BT = np.full((len(rows), width), PADDING, dtype=np.int64)
        for i, part in enumerate(parts):
            sequence, branch = self.tokens[part].astype(np.int64), self.branch[part]
            # A branch's first token follows the trunk's last, but no text says so: it is no target.
            learned = self.learned[part][1:] & ((branch[1:] == branch[:-1]) | (branch[1:] == 1))
            if task is not None:
                learned &= self.task[part][1:] == task
            tokens_BT[i, : len(sequence) - 1] = sequence[:-1]
            targets_BT[i, : len(sequence) - 1] = np.where(learned, sequence[1:], NO_TARGET)
            branch_BT[i, : len(sequence) - 1] = branch[:-1]
        batch = torch.from_numpy(tokens_BT), torch.from_numpy(targets_BT)
        branched = ((branch_BT != 0) & (branch_BT != PADDING)).any()
        return (*batch, torch.from_numpy(branch_BT)) if branched else batch

    def of_task(self, rows: np.ndarray, task: int) -> np.ndarray:
        """Those of `rows` that have a target of this task."""
        learned_in = np.add.reduceat(self.learned & (self.task == task), self.offsets[:-1])
        return rows[learned_in[rows] > 0]


class DatasetBuilder:
    """Collects tokenised examples; those longer than `max_length` are counted by task instead."""

    def __init__(self, vocabulary: int, max_length: int) -> None:
        self._dtype = np.uint16 if vocabulary <= 1 << 16 else np.int32
        self._max_length = max_length
        self._tokens: list[np.ndarray] = []
        self._learned: list[np.ndarray] = []
        self._branch: list[np.ndarray] = []
        self._task: list[np.ndarray] = []
        self._weight: list[float] = []
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
        in_prompt = [False] * len(prompt) if learned is None else list(learned)
        self._write([], [Branch(prompt, target, task, in_prompt)], weight)
        self._branch[-1][:] = 0  # a trunk by itself

    def add_tree(self, trunk: Sequence[int], branches: Sequence[Branch]) -> None:
        """Take examples that begin with the same tokens: rows of the trunk once, then as many branches as fit, about
        equally many in each row.
        """
        kept: list[Branch] = []
        for branch in branches:
            if (
                len(branch.target)
                and len(trunk) + len(branch.prompt) + len(branch.target) <= self._max_length
            ):
                kept.append(branch)
            else:
                self.counts.setdefault(branch.task, [0, 0, 0])[1] += 1
        room = self._max_length - len(trunk)
        total = sum(len(b.prompt) + len(b.target) for b in kept)
        even = total / max(1, -(-total // max(1, room)))
        row: list[Branch] = []
        used = 0
        for branch in kept:
            length = len(branch.prompt) + len(branch.target)
            if row and (used >= even or used + length > room):
                self._write(trunk, row, 1.0)
                row, used = [], 0
            row.append(branch)
            used += length
        if row:
            self._write(trunk, row, 1.0)

    def _write(self, trunk: Sequence[int], branches: Sequence[Branch], weight: float) -> None:
        tokens, learned, numbers, tasks = (
            list(trunk),
            [False] * len(trunk),
            [0] * len(trunk),
            [-1] * len(trunk),
        )
        seen, alone = 0, 0
        for branch in sorted(branches, key=lambda branch: branch.alone):
            length = len(branch.prompt) + len(branch.target)
            counts = self.counts.setdefault(branch.task, [0, 0, 0])
            counts[0] += 1
            counts[2] += length + (len(trunk) if not tasks or tasks[-1] == -1 else 0)
            seen, alone = (seen, alone - 1) if branch.alone else (seen + 1, alone)
            tokens += [*branch.prompt, *branch.target]
            learned += [*branch.learned, *[True] * len(branch.target)]
            numbers += [alone if branch.alone else seen] * length
            tasks += [self._tasks.setdefault(branch.task, len(self._tasks))] * length
        self._tokens.append(np.array(tokens, dtype=self._dtype))
        self._learned.append(np.array(learned, dtype=bool))
        self._branch.append(np.array(numbers, dtype=np.int16))
        self._task.append(np.array(tasks, dtype=np.int8))
        self._weight.append(weight)

    def build(self) -> TokenDataset:
        """The dataset; `DataError` if nothing was kept."""
        if not self._tokens:
            raise DataError(
                f"no training example of at most {self._max_length} tokens; by task (kept, dropped, tokens): "
                f"{self.counts}. Check [data], or raise train.max_length"
            )
        return TokenDataset(
            np.concatenate(self._tokens),
            np.concatenate(self._learned),
            np.concatenate(self._branch),
            np.concatenate(self._task),
            np.concatenate([[0], np.cumsum([len(part) for part in self._tokens])]).astype(np.int64),
            np.array(self._weight, dtype=np.float32),
            tuple(self._tasks),
        )


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
