"""Checkpoints that a run resumes from exactly, and that neither a crash nor a full disk can spoil.

One file a checkpoint, `step-00001200.<first 16 hex digits of its SHA-256>.pt`: written under a temporary name
in the same folder, flushed to disk, then renamed, so that a file of that name is whole or was damaged later,
which its digest tells.
"""

from __future__ import annotations

import errno
import hashlib
import os
import random
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import torch

from optim.errors import CheckpointError, ConfigError, DiskFullError

NAME = re.compile(r"step-(\d{8,})\.([0-9a-f]{16})\.pt")
TEMPORARY = ".writing.tmp"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Stateful(Protocol):
    """What a checkpoint can keep: models, optimizers, schedulers, moving averages."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


@dataclass(frozen=True)
class Snapshot:
    """A checkpoint read back: `step` steps were done when it was written."""

    path: Path
    step: int
    config: dict[str, Any]
    states: dict[str, dict[str, Any]]
    rng: dict[str, Any]

    def restore(self, parts: Mapping[str, Stateful]) -> None:
        """Load every part's state and the random generators'; raises if the checkpoint holds other parts."""
        if set(parts) != set(self.states):
            raise CheckpointError(
                f"{self.path} holds {sorted(self.states)}, this run needs {sorted(parts)}; "
                "start it with --fresh"
            )
        for name, part in parts.items():
            part.load_state_dict(self.states[name])
        _restore_rng(self.rng)

    def refuse_other_config(self, config: Mapping[str, Any], free: frozenset[str] = frozenset()) -> None:
        """Raise if the run's configuration differs from the checkpoint's in a key that is not `free`."""
        old, new = _flat(self.config), _flat(config)
        differing = [
            f"  {key}: checkpoint {old.get(key, '(absent)')!r}, now {new.get(key, '(absent)')!r}"
            for key in sorted(old.keys() | new.keys())
            if old.get(key) != new.get(key) and key not in free
        ]
        if differing:
            raise ConfigError(
                f"{self.path} was made with another configuration:\n"
                + "\n".join(differing)
                + "\nput these back, or start afresh with --fresh or another output.run folder"
            )


class Checkpoints:
    """One run's checkpoints: `save` adds one and drops all but the last `keep`, `load` reads the newest."""

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder = Path(folder)
        self.keep = keep

    def paths(self) -> list[Path]:
        """All checkpoints, oldest first."""
        if not self.folder.is_dir():
            return []
        return sorted(path for path in self.folder.iterdir() if NAME.fullmatch(path.name))

    def last_step(self) -> int | None:
        """How many steps were done at the newest checkpoint, going by its name; None if there is none."""
        names = [NAME.fullmatch(path.name) for path in self.paths()]
        return max((int(match[1]) for match in names if match), default=None)

    def save(self, step: int, config: Mapping[str, Any], parts: Mapping[str, Stateful]) -> Path:
        """Write a checkpoint; `DiskFullError` if there is no room: then only the earlier ones stand."""
        content = {
            "step": step,
            "config": dict(config),
            "states": {name: part.state_dict() for name, part in parts.items()},
            "rng": _rng(),
        }
        temporary = self.folder / f"step-{step:08d}{TEMPORARY}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self._write(content, step, temporary)
        except OSError as error:
            if self.folder.is_dir():
                temporary.unlink(missing_ok=True)
            if error.errno in NO_ROOM:
                raise DiskFullError(
                    f"no room for the checkpoint of step {step} in {self.folder} ({error.strerror}); "
                    f"{self._standing()}. Free some space and resume"
                ) from error
            raise CheckpointError(
                f"the checkpoint of step {step} could not be written to {self.folder}: {error}; "
                f"{self._standing()}"
            ) from error
        for old in [other for other in self.paths() if other != path][: -(self.keep - 1) or None]:
            old.unlink()
        return path

    def _write(self, content: dict[str, Any], step: int, temporary: Path) -> Path:
        with temporary.open("wb") as file:
            writer = _DigestWriter(file)
            torch.save(content, writer)  # type: ignore[arg-type]
            writer.finish()
        path = self.folder / f"step-{step:08d}.{writer.digest}.pt"
        temporary.replace(path)
        _sync_folder(self.folder)
        return path

    def load(self) -> Snapshot | None:
        """The newest checkpoint that is whole, warning of damaged newer ones; None if there is none."""
        paths = self.paths()
        for path in reversed(paths):
            try:
                return read_checkpoint(path)
            except CheckpointError as error:
                warnings.warn(f"{error}; trying the one before", stacklevel=2)
        if paths:
            raise CheckpointError(f"every checkpoint in {self.folder} is damaged; start afresh with --fresh")
        return None

    def clear(self) -> None:
        """Remove every checkpoint, and what an interrupted write left."""
        for path in [*self.paths(), *self.folder.glob(f"*{TEMPORARY}")]:
            path.unlink()

    def _standing(self) -> str:
        paths = self.paths()
        return f"the last good checkpoint is {paths[-1].name}" if paths else "there is no earlier checkpoint"


def read_checkpoint(path: Path) -> Snapshot:
    """Read one checkpoint; `CheckpointError` if the file is not what was written."""
    match = NAME.fullmatch(path.name)
    if not match:
        raise CheckpointError(f"{path} is not named like a checkpoint, step-<number>.<digest>.pt")
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise CheckpointError(f"the checkpoint {path} cannot be read: {error}") from error
    if found != match[2]:
        raise CheckpointError(
            f"the checkpoint {path} is damaged: its digest is {found}, its name says {match[2]}"
        )
    content = torch.load(path, map_location="cpu", weights_only=True)
    return Snapshot(path, content["step"], content["config"], content["states"], content["rng"])


class _DigestWriter:
    """Passes bytes on to a file and digests them.

    torch's archive writer does not survive an exception in `write`, so the first error is kept for `finish`
    to raise.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sha = hashlib.sha256()
        self._error: OSError | None = None

    @property
    def digest(self) -> str:
        return self._sha.hexdigest()[:16]

    def write(self, data: bytes) -> int:
        if self._error is None:
            try:
                self._file.write(data)
                self._sha.update(data)
            except OSError as error:
                self._error = error
        return len(data)

    def flush(self) -> None:
        """Part of the file protocol; `finish` flushes."""

    def finish(self) -> None:
        if self._error is not None:
            raise self._error
        self._file.flush()
        os.fsync(self._file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _rng() -> dict[str, Any]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"python": random.getstate(), "torch": torch.get_rng_state(), "cuda": cuda}


def _restore_rng(rng: dict[str, Any]) -> None:
    random.setstate(rng["python"])
    torch.set_rng_state(rng["torch"])
    if torch.cuda.is_available() and len(rng["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(rng["cuda"])


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
