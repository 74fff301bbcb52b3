"""What a run tells: a live bar on a terminal, plain lines elsewhere, every step's numbers in a file."""

from __future__ import annotations

import errno
import json
import math
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Journal:
    """Context manager around a run of `total` steps, of which `start` are done already.

    A resumed run's numbers are added to the file, a fresh run's replace it. Training does not end for want
    of a log: if the file cannot be written (a full disk), one line says so, and nothing more goes to it. A
    silent journal (ranks other than 0) says and writes nothing.
    """

    def __init__(
        self,
        total: int,
        start: int = 0,
        *,
        path: Path | None = None,
        log_every: int = 20,
        console: Console | None = None,
        silent: bool = False,
    ) -> None:
        self.total = total
        self.start = start
        self.log_every = log_every
        self.silent = silent
        self.console = console or Console()
        self._path = None if silent else path
        self._file: FileIO | None = None
        self._bar: Progress | None = None
        self._began = time.perf_counter()

    def __enter__(self) -> Journal:
        self._began = time.perf_counter()
        if self._path:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._path.open("ab" if self.start else "wb", buffering=0)
            except OSError as error:
                self._give_up(error)
        if self.console.is_terminal and not self.silent:
            self._bar = Progress(
                TextColumn("training"),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TextColumn("{task.fields[numbers]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(elapsed_when_finished=False),
                console=self.console,
            )
            self._task = self._bar.add_task("train", total=self.total, completed=self.start, numbers="")
            self._bar.start()
        return self

    def __exit__(self, *_error: object) -> None:
        if self._bar:
            self._bar.stop()
        if self._file:
            self._file.close()

    def say(self, text: str) -> None:
        """A line for people."""
        if not self.silent:
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def record(self, entry: Mapping[str, Any]) -> None:
        """A line for programs; NaN becomes null."""
        if self._file:
            clean = {
                k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in entry.items()
            }
            line = (json.dumps(clean) + "\n").encode()
            whole = os.fstat(self._file.fileno()).st_size
            try:
                if self._file.write(line) < len(line):  # of what is unbuffered a part may fit
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError as error:
                with suppress(OSError):
                    self._file.truncate(whole)  # no half line
                self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self.say(
            f"warning: {self._path} cannot be written ({error.strerror}); training goes on without a log. "
            "Checkpoints need that place too: free some space"
        )
        if self._file:
            with suppress(OSError):
                self._file.close()
            self._file = None

    def step(self, done: int, entry: Mapping[str, Any]) -> None:
        """The numbers of a step, `done` of them being finished now."""
        self.record(entry)
        numbers = (
            f"loss {entry['loss']:.4f}  lr {entry['lr']:.2e}  logit {entry['max_logit']:.1f}  "
            f"{entry['tokens_per_second']:,.0f} tokens/s"
        )
        if self._bar:
            self._bar.update(self._task, completed=done, numbers=numbers)
        elif done % self.log_every == 0 or done in (self.start + 1, self.total):
            passed = time.perf_counter() - self._began
            left = passed / max(done - self.start, 1) * (self.total - done)
            self.say(f"step {done}/{self.total}  {numbers}  {passed:,.0f} s passed, {left:,.0f} s left")
