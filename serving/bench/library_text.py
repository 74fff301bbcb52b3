"""Real text that anybody has: the sources of the standard library of the Python that runs this, as tokens.

Code with its comments and documentation, some ten megabytes, read where Python is installed; nothing of it is
kept in the repository. It differs a little between releases of Python, so `described` carries size and digest.
"""

from __future__ import annotations

import hashlib
import platform
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model import Tokenizer

from ..errors import EvaluationError

HELD_OUT_ONE_IN = 16  # files, by the digest of their path
_TOKENIZER_BYTES = 4_000_000
# Tests repeat themselves, `encodings` are tables of characters, `_sysconfigdata` is of one machine.
_LEFT_OUT = ("test", "tests", "idle_test", "encodings", "site-packages", "__pycache__")


@dataclass(frozen=True)
class LibraryText:
    """Training and held-out tokens, files one after another with <eos> between, no file in both."""

    train_N: NDArray[np.int64]
    held_out_N: NDArray[np.int64]
    vocab_size: int
    described: dict[str, Any]

    def batch(self, step: int, rows: int, length: int, seed: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets [rows, length] of a step: windows in an order that `seed` shuffles, none twice an epoch."""
        windows = (len(self.train_N) - 1) // length
        if windows < rows:
            raise EvaluationError(
                f"The text has {windows} windows of {length} tokens, fewer than a batch of {rows}.",
                "Give more text, or smaller batches.",
            )
        epoch, place = divmod(step, windows // rows)
        order = np.random.default_rng([seed, epoch]).permutation(windows)
        return _windows(self.train_N, order[place * rows : (place + 1) * rows], length)

    def held_out(self, rows: int, length: int, batches: int) -> list[tuple[Tensor, Tensor]]:
        """The same `batches` batches at every call, spread over all held-out files."""
        windows = (len(self.held_out_N) - 1) // length
        chosen = np.linspace(0, windows - 1, min(windows, rows * batches)).astype(np.int64)
        return [
            _windows(self.held_out_N, chosen[start : start + rows], length)
            for start in range(0, len(chosen), rows)
        ]


def library_text(vocab_size: int, max_bytes: int | None = None) -> LibraryText:
    """Read the library, or about its first `max_bytes`, and tokenise it with a tokenizer of its training part."""
    train: list[str] = []
    held_out: list[str] = []
    digest, size = hashlib.sha256(), 0
    for name, text in _files():
        encoded = text.encode("utf-8")
        digest.update(name.encode() + b"\0" + encoded)
        size += len(encoded)
        number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
        (train if number % HELD_OUT_ONE_IN else held_out).append(text)
        if max_bytes is not None and size >= max_bytes and held_out:
            break
    if not train or not held_out:
        raise EvaluationError(
            f"Only {len(train) + len(held_out)} source files of the standard library were found in {_root()}.",
            "Run this with a Python whose library is installed as .py files.",
        )
    tokenizer = Tokenizer.train(_some(train, _TOKENIZER_BYTES), vocab_size)
    tokens = [_joined(tokenizer, texts) for texts in (train, held_out)]
    described = {
        "what": "standard library sources of Python " + platform.python_version(),
        "files": len(train) + len(held_out),
        "held_out_files": len(held_out),
        "bytes": size,
        "sha256": digest.hexdigest(),
        "train_tokens": len(tokens[0]),
        "held_out_tokens": len(tokens[1]),
        "vocab_size": len(tokenizer),
        "bytes_per_token": round(size / (len(tokens[0]) + len(tokens[1])), 3),
    }
    return LibraryText(tokens[0], tokens[1], len(tokenizer), described)


def _root() -> Path:
    return Path(sysconfig.get_paths()["stdlib"])


def _files() -> Iterator[tuple[str, str]]:
    """Name and text of each file, in the order of a digest of the names, so that a part is a fair sample."""
    root = _root()
    paths = [
        path
        for path in root.rglob("*.py")
        if not set(path.relative_to(root).parts[:-1]) & set(_LEFT_OUT)
        and not path.name.startswith("_sysconfigdata")
    ]
    names = {path.relative_to(root).as_posix(): path for path in paths}
    for name in sorted(names, key=lambda name: hashlib.sha256(b"order" + name.encode()).digest()):
        yield name, names[name].read_text(encoding="utf-8", errors="replace")


def _some(texts: list[str], size: int) -> Iterator[str]:
    seen = 0
    for text in texts:
        yield text
        seen += len(text)
        if seen >= size:
            return


def _joined(tokenizer: Tokenizer, texts: list[str]) -> NDArray[np.int64]:
    parts = [np.array([*ids, tokenizer.eos_id], dtype=np.int64) for ids in tokenizer.encode_batch(texts)]
    return np.concatenate(parts)


def _windows(tokens_N: NDArray[np.int64], which: NDArray[np.int64], length: int) -> tuple[Tensor, Tensor]:
    index_BT = which[:, None] * length + np.arange(length + 1)
    rows = torch.from_numpy(tokens_N[index_BT])
    return rows[:, :-1], rows[:, 1:]
