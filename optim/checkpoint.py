"""Checkpoints that a run resumes from exactly, on any number of processes, and that no crash or full disk can spoil.

One folder a checkpoint, `step-00001200.<first 16 hex digits of its manifest's SHA-256>`: every rank writes its shards with
`torch.distributed.checkpoint`, in a thread, from copies, while training goes on; rank 0 adds what is no tensor and a
manifest with every file's digest; then the folder gets its name. A folder of that name is whole, or was damaged later,
which the digests tell.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint import CheckpointException, save

from optim.checkpoint_files import NO_ROOM, DigestingWriter, damage, seal, write_rest
from optim.checkpoint_tensors import split, stager
from optim.errors import CheckpointError, DiskFullError
from optim.parallel import rank, world_size
from optim.snapshot import NAME, Snapshot, Stateful, read_checkpoint, rng_states

TEMPORARY = ".writing.tmp"


class Checkpoints:
    """One run's checkpoints: `save` adds one and drops all but the last `keep`, `load` finds the newest.

    On several processes every rank calls every method but `paths` and `last_step`, in the same order.
    """

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder = Path(folder)
        self.keep = keep
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._stager = stager()
        self._pending: Future[Path] | None = None

    @cached_property
    def _group(self) -> dist.ProcessGroup | None:
        """The ranks, for the thread, whose messages must not mix with training's."""
        return dist.new_group(backend="gloo") if world_size() > 1 else None

    def paths(self) -> list[Path]:
        """All checkpoints, oldest first."""
        if not self.folder.is_dir():
            return []
        return sorted(path for path in self.folder.iterdir() if NAME.fullmatch(path.name))

    def last_step(self) -> int | None:
        """How many steps were done at the newest checkpoint, going by its name; None if there is none."""
        names = [NAME.fullmatch(path.name) for path in self.paths()]
        return max((int(match[1]) for match in names if match), default=None)

    def save(self, step: int, config: Mapping[str, Any], parts: Mapping[str, Stateful]) -> Future[Path]:
        """Copy the state, then write it in the background; a save before it is waited for.

        The result, or `wait`, raises `DiskFullError` if there is no room: then only the earlier ones stand.
        """
        self.wait()
        tensors, rest = split({name: part.state_dict() for name, part in parts.items()})
        content = {
            "step": step,
            "config": dict(config),
            "world": world_size(),
            "states": rest,
            "rng": rng_states(),
        }
        self._meet()  # makes the group here, where every rank is, and not in the thread
        copies: Any = self._stager.stage(tensors)
        self._pending = self._thread.submit(self._write, step, copies, content)
        return self._pending

    def wait(self) -> Path | None:
        """Wait for a save that is under way; its path, or its error."""
        pending, self._pending = self._pending, None
        return pending.result() if pending else None

    def _write(self, step: int, tensors: dict[str, Tensor], content: dict[str, Any]) -> Path:
        temporary = self.folder / f"step-{step:08d}{TEMPORARY}"
        error: BaseException | None = None
        try:
            self._make_folder(temporary)
            writer = DigestingWriter(temporary)
            save(tensors, storage_writer=writer, process_group=self._group, no_dist=self._group is None)
            digests = self._meet(writer.digests)
            path = None
            if rank() == 0:
                written = {name: found for part in digests for name, found in part.items()}
                written |= write_rest(temporary, content)
                path = seal(temporary, f"step-{step:08d}", written)
                self._drop_old(path)
        except (OSError, CheckpointException) as caught:
            error, path = caught, None
        # Whatever went wrong on a rank, every rank hears of it.
        outcomes = self._meet((path, _os_error(error) if error else None))
        failed = [found for _, found in outcomes if found is not None]
        if failed:
            if rank() == 0:
                shutil.rmtree(temporary, ignore_errors=True)
            raise self._failure(step, failed[0]) from error
        return next(found for found, _ in outcomes if found is not None)

    def _make_folder(self, temporary: Path) -> None:
        """By rank 0; the others wait, and fail with it."""
        error = None
        if rank() == 0:
            shutil.rmtree(temporary, ignore_errors=True)
            try:
                temporary.mkdir(parents=True)
            except OSError as caught:
                error = caught
        for found in self._meet(error):
            if found is not None:
                raise found

    def _meet(self, mine: Any = None) -> list[Any]:
        """Every rank's object, on every rank."""
        if self._group is None:
            return [mine]
        found: list[Any] = [None] * world_size()
        dist.all_gather_object(found, mine, self._group)
        return found

    def _failure(self, step: int, error: OSError) -> CheckpointError:
        if error.errno in NO_ROOM:
            return DiskFullError(
                f"no room for the checkpoint of step {step} in {self.folder} ({error.strerror}); "
                f"{self._standing()}. Free some space and resume"
            )
        return CheckpointError(
            f"the checkpoint of step {step} could not be written to {self.folder}: {error}; {self._standing()}"
        )

    def _drop_old(self, newest: Path) -> None:
        for old in [other for other in self.paths() if other != newest][: -(self.keep - 1) or None]:
            _remove(old)

    def load(self) -> Snapshot | None:
        """The newest checkpoint that is whole, warning of damaged newer ones; None if there is none.

        What an interrupted write left is removed.
        """
        self.wait()
        paths = self.paths()
        found = None
        for path in reversed(paths):
            wrong = next((text for text in self._meet(damage(path, rank(), world_size())) if text), None)
            if wrong is None:
                found = read_checkpoint(path)
                break
            if rank() == 0:
                warnings.warn(f"{wrong}; trying the one before", stacklevel=2)
        if paths and found is None:
            raise CheckpointError(f"every checkpoint in {self.folder} is damaged; start afresh with --fresh")
        self._remove_unfinished()
        return found

    def clear(self) -> None:
        """Remove every checkpoint, and what an interrupted write left."""
        self._meet()
        if rank() == 0:
            for path in self.paths():
                _remove(path)
        self._remove_unfinished()

    def _remove_unfinished(self) -> None:
        if rank() == 0:
            for path in self.folder.glob(f"*{TEMPORARY}"):
                _remove(path)

    def _standing(self) -> str:
        paths = self.paths()
        return f"the last good checkpoint is {paths[-1].name}" if paths else "there is no earlier checkpoint"


def _remove(path: Path) -> None:
    """Half a removed folder is not a checkpoint: it loses its name first."""
    if path.is_dir():
        going = path.with_name(path.name.removesuffix(TEMPORARY) + TEMPORARY)
        path.rename(going)
        shutil.rmtree(going)
    else:
        path.unlink()


def _os_error(error: BaseException) -> OSError:
    """The operating system's error in what `torch.distributed.checkpoint` made of the ranks' errors."""
    if isinstance(error, OSError):
        return error
    causes: Sequence[BaseException] = (
        [cause for cause, _ in error.failures.values()] if isinstance(error, CheckpointException) else []
    )
    for cause in causes:
        seen: BaseException | None = cause
        while seen is not None:
            if isinstance(seen, OSError):
                return seen
            seen = seen.__cause__ or seen.__context__
    return OSError(None, "; ".join(f"{type(cause).__name__}: {cause}" for cause in causes) or str(error))
