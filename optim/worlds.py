"""Several ranks on one machine, forked from this process: what tests and benchmarks use where torchrun's start-up would cost
more than what they measure. Nothing is imported again, and each rank is a process of its own, which can be killed.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from optim.errors import OptimError

PATIENCE = timedelta(minutes=5)
FORK = multiprocessing.get_context("fork")


class World:
    """`size` processes in which `work(*given)` runs as a rank of a gloo group; with one there is no group."""

    def __init__(self, size: int, work: Callable[..., Any], *given: Any) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="world-")
        place = Path(self._folder.name)
        self._results = [place / f"rank{rank}" for rank in range(size)]
        self.processes: list[BaseProcess] = [
            FORK.Process(target=_rank, args=(rank, size, place / "store", self._results[rank], work, given))
            for rank in range(size)
        ]
        for process in self.processes:
            process.start()

    def wait(self) -> list[int | None]:
        """Every rank's exit status; -9 for the killed."""
        for process in self.processes:
            process.join()
        return [process.exitcode for process in self.processes]

    def close(self) -> None:
        """Remove what the ranks left for one another."""
        self._folder.cleanup()

    def results(self) -> list[Any]:
        """What `work` returned on each rank; `OptimError` with the ranks' tracebacks if it failed on one."""
        statuses = self.wait()
        found = [torch.load(path, weights_only=False) if path.is_file() else None for path in self._results]
        self.close()
        if any(statuses):
            raise OptimError(
                f"ranks ended with {statuses}:\n" + "\n".join(str(text) for text in found if text)
            )
        return found


def in_world(size: int, work: Callable[..., Any], *given: Any) -> list[Any]:
    """`work(*given)` as every rank of a new world; each one's result."""
    return World(size, work, *given).results()


def _rank(
    rank: int, size: int, store: Path, result: Path, work: Callable[..., Any], given: tuple[Any, ...]
) -> None:
    torch.set_num_threads(1)
    status = 0
    try:
        if size > 1:
            dist.init_process_group(
                "gloo",
                store=dist.FileStore(str(store), size),
                rank=rank,
                world_size=size,
                timeout=PATIENCE,
            )
        torch.save(work(*given), result)
    except BaseException:
        torch.save(traceback.format_exc(), result)
        status = 1
    os._exit(status)  # no clean-up of what the fork copied; a killed rank does none either
