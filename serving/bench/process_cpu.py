"""The CPU and the memory that a process has used, whatever it is written in: what a gateway costs is read off its process."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from ..errors import EvaluationError


def need_linux() -> None:
    """Raises EvaluationError where other processes' clocks cannot be read."""
    if not Path("/proc/self/stat").exists():
        raise EvaluationError(
            "The CPU of a process is read from its clock and /proc, which are not here.", "Run it on Linux."
        )


def cpu_s(pid: int) -> float:
    """Seconds of CPU, of all threads of the process and of those that it started, in user and kernel.

    Of the process's CPU clock: /proc/PID/stat counts in hundredths of a second, a few hundred plain requests of a router in Rust.
    """
    total = 0.0
    for one in _family(pid):
        with contextlib.suppress(OSError):
            total += time.clock_gettime((~one << 3) | 2)  # clock_getcpuclockid(3), as Linux numbers them
    return total


def resident_mb(pid: int, *, alone: bool = False) -> float:
    """Memory that is resident, in MB, of the process and, unless `alone`, of those that it started."""
    pages = 0
    for one in [pid] if alone else _family(pid):
        with contextlib.suppress(OSError):
            pages += int(Path(f"/proc/{one}/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


def _family(pid: int) -> list[int]:
    found = [pid]
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in children.read_text().split():
                found += _family(int(child))
    return found
