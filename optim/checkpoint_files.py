"""The files of a checkpoint: written with digests, sealed by a manifest, checked before they are read."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch.distributed.checkpoint import FileSystemWriter
from torch.distributed.checkpoint.filesystem import FileSystem

from optim.errors import CheckpointError

MANIFEST = "manifest.json"
REST = "rest.pt"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DigestingWriter(FileSystemWriter):
    """`torch.distributed.checkpoint`'s writer; `digests` says the SHA-256 of each file that this rank wrote."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        files = _DigestingFiles()
        self.fs, self.digests = files, files.digests


class _DigestingFiles(FileSystem):
    def __init__(self) -> None:
        self.digests: dict[str, str] = {}

    @contextmanager
    def create_stream(self, path: str | os.PathLike[str], mode: str) -> Iterator[Any]:
        with Path(path).open(mode) as file:
            if "w" not in mode:
                yield file
                return
            writer = _DigestingStream(file)  # type: ignore[arg-type]
            yield writer
            writer.finish()
        self.digests[Path(path).name.removesuffix(".tmp")] = writer.digest  # the metadata's is renamed later


class _DigestingStream:
    """Passes bytes on to a file and digests them.

    torch's archive writer does not survive an exception in `write`, so the first error is kept for `finish`
    to raise.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sha = hashlib.sha256()
        self._error: OSError | None = None
        self._size = 0

    @property
    def digest(self) -> str:
        return self._sha.hexdigest()

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        self._size += size
        if self._error is None:
            try:
                self._file.write(data)
                self._sha.update(data)
            except OSError as error:
                self._error = error
        return size

    def tell(self) -> int:
        return self._size

    def flush(self) -> None:
        """Part of the file protocol; `finish` flushes."""

    def close(self) -> None:
        """Part of the file protocol; who opened the file closes it."""

    def fileno(self) -> int:
        raise AttributeError("finish flushes to disk")

    def finish(self) -> None:
        if self._error is not None:
            raise self._error
        self._file.flush()
        os.fsync(self._file.fileno())


def write_rest(folder: Path, content: Mapping[str, Any]) -> dict[str, str]:
    """Write what is no shard of a tensor; the file's digest by its name."""
    with (folder / REST).open("wb") as file:
        stream = _DigestingStream(file)
        torch.save(dict(content), stream)  # type: ignore[arg-type]
        stream.finish()
    return {REST: stream.digest}


def seal(folder: Path, name: str, digests: Mapping[str, str]) -> Path:
    """Add the manifest and give the folder its name, which holds the manifest's digest: from now on it is a checkpoint."""
    text = json.dumps(dict(sorted(digests.items())), indent=1).encode()
    with (folder / MANIFEST).open("wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(folder)
    path = folder.with_name(f"{name}.{hashlib.sha256(text).hexdigest()[:16]}")
    if not path.exists():  # else the same state was saved before
        folder.rename(path)
    sync_folder(path.parent)
    return path


def damage(path: Path, part: int = 0, parts: int = 1) -> str | None:
    """What is wrong with a checkpoint, or None; of its files every `parts`-th, from `part` on, is read."""
    try:
        if path.suffix == ".pt":
            return _differs(path, _digest(path)[:16], path.name.split(".")[1])
        text = (path / MANIFEST).read_bytes()
        wrong = _differs(path / MANIFEST, hashlib.sha256(text).hexdigest()[:16], path.name.split(".")[1])
        for name, expected in list(json.loads(text).items())[part::parts] if wrong is None else ():
            wrong = wrong or _differs(path / name, _digest(path / name), expected)
    except OSError as error:
        return f"the checkpoint {path} cannot be read: {error}"
    return wrong


def read_content(path: Path) -> dict[str, Any]:
    """What `write_rest` wrote; of a checkpoint of one file, as they were once, everything."""
    try:
        return torch.load(path if path.is_file() else path / REST, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError) as error:
        raise CheckpointError(f"the checkpoint {path} cannot be read: {error}") from error


def sync_folder(folder: Path) -> None:
    """Make names in a folder outlast a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _differs(path: Path, found: str, expected: str) -> str | None:
    if found == expected:
        return None
    return f"the checkpoint {path} is damaged: its digest is {found[:16]}, it should be {expected[:16]}"
