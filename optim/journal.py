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

from optim.display import Display
from optim.events import Events


class Journal:
    """Context manager around a run of `total` steps, of which `start` are done already.

    A resumed run's numbers are added to the file, a fresh run's replace it. Training does not end for want
    of a log: if the file cannot be written (a full disk), one line says so, and nothing more goes to it. A
    silent journal (ranks other than 0) says and writes nothing. With `peak_flops`, what the devices of all ranks could do
    in a second, each step's share of it is told (MFU); `tensorboard` is a folder for events.
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
        peak_flops: float = 0.0,
        tensorboard: Path | None = None,
    ) -> None:
        self.total = total
        self.start = start
        self.log_every = log_every
        self.silent = silent
        self.peak_flops = peak_flops
        self.tensorboard = tensorboard
        self.console = console or Console()
        self._path = None if silent else path
        self._file: FileIO | None = None
        self._display: Display | None = None
        self._events: Events | None = None
        self._began = time.perf_counter()

    def __enter__(self) -> Journal:
        self._began = time.perf_counter()
        if self._path:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._path.open("ab" if self.start else "wb", buffering=0)
            except OSError as error:
                self._give_up(error)
        if self.tensorboard and not self.silent:
            self._events = Events(self.tensorboard, self.start)
        if self.console.is_terminal and not self.silent:
            self._display = Display(self.console, self.total, self.start)
            self._display.start_drawing()
        return self

    def __exit__(self, *_error: object) -> None:
        if self._display:
            self._display.stop_drawing()
        if self._events:
            self._events.close()
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

    def skip(self, done: int, what: str, value: float, so_far: int) -> None:
        """A step that changed no weight."""
        self.say(f"step {done}: the {what} is {value}; skipped, no weight was changed ({so_far} so far)")

    def evaluation(self, done: int, scores: Mapping[str, float]) -> None:
        """Losses on held-out examples."""
        self.record({"step": done, **scores})
        if self._events:
            self._events.write(done, scores)
        if self._display:
            self._display.note("held out", f"loss {scores['eval_loss']:.4f} at step {done:,}")
        self.say(f"step {done}: " + "  ".join(f"{key} {value:.4f}" for key, value in scores.items()))

    def saving(self, done: int) -> None:
        """A checkpoint is being written."""
        if self._display:
            self._display.note("checkpoint", f"step {done:,}")

    def step(self, done: int, entry: Mapping[str, Any]) -> None:
        """The numbers of a step, `done` of them being finished now."""
        if self.peak_flops:
            entry = {**entry, "mfu": round(entry["flops_per_second"] / self.peak_flops, 4)}
        self.record(entry)
        if self._events:
            self._events.write(done, entry)
        if self._display:
            self._display.step(done, entry)
        elif done % self.log_every == 0 or done in (self.start + 1, self.total):
            passed = time.perf_counter() - self._began
            left = passed / max(done - self.start, 1) * (self.total - done)
            self.say(
                f"step {done}/{self.total}  {_numbers(entry)}  {passed:,.0f} s passed, {left:,.0f} s left"
            )


def _numbers(entry: Mapping[str, Any]) -> str:
    text = f"loss {entry['loss']:.4f}  lr {entry['lr']:.2e}  logit {entry['max_logit']:.1f}"
    if "expert_load" in entry:
        text += f"  experts {entry['expert_load']:.2f}"
    text += f"  {entry['tokens_per_second']:,.0f} tokens/s"
    return text + (f"  MFU {entry['mfu']:.1%}" if entry.get("mfu") else "")
