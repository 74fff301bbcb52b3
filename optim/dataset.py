"""Tokenised examples as flat arrays on disk: how they are collected, kept, and put into one batch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from optim.errors import DataError
from optim.loop import MicroBatch

NO_TARGET = -100


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
