"""Results of finished runs, one JSON line each, so that an experiment that was stopped goes on and repeats nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import EvaluationError


class RunCache:
    """A file of lines {"key", ...}; a last line that a crash cut short is dropped, as that run did not finish."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._found: dict[str, dict[str, Any]] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        except OSError as error:
            raise EvaluationError(
                f"The cache of runs {path} cannot be used: {error}.", "Name another folder with --out."
            ) from error
        if lines and not lines[-1].endswith(b"\n"):
            path.write_bytes(b"".join(lines[:-1]))
            lines.pop()
        for number, line in enumerate(lines, 1):
            try:
                found = json.loads(line)
                self._found[found["key"]] = found
            except (ValueError, KeyError, TypeError) as error:
                raise EvaluationError(
                    f"Line {number} of {path} is no finished run: {error!r}.",
                    "Delete that line, or the file to repeat all runs.",
                ) from error

    def __len__(self) -> int:
        return len(self._found)

    def get_or_run(self, key: str, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The finished run of that key; else `run` it and keep what it returns."""
        if key not in self._found:
            found = {"key": key, **run()}
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(found) + "\n")
                file.flush()
                os.fsync(file.fileno())
            self._found[key] = found
        return self._found[key]
