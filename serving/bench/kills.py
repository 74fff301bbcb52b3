"""kill -9 at random moments: does a run always resume, and end with the weights of one that nobody disturbed?"""

from __future__ import annotations

import os
import random
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from optim.checkpoint import TEMPORARY
from optim.worlds import World, in_world

from ..settings import Settings
from .random_run import LAYOUTS, RandomRun

STEPS = 12
EVERY = 2
FILE_EVENTS = ("open", "os.mkdir", "os.rename", "os.rmdir", "os.remove", "shutil.rmtree")
"""Of Python's audit events those that a save is made of."""


def run(settings: Settings) -> dict[str, Any]:
    """SURESQL_KILLS kills (50), half of them on one process and half on two."""
    kills = int(os.environ.get("SURESQL_KILLS", "50"))
    one, two = (
        kills_of(RandomRun(), 1, kills - kills // 2),
        kills_of(RandomRun(LAYOUTS["both"]), 2, kills // 2),
    )
    return {
        "kills": one["kills"] + two["kills"],
        "runs_that_ended_otherwise": one["runs_that_ended_otherwise"] + two["runs_that_ended_otherwise"],
        "one_process": one,
        "two_processes": two,
    }


def kills_of(what: RandomRun, processes: int, kills: int, seed: int = 0) -> dict[str, Any]:
    """Start a run again and again until so many of its starts were killed; compare each end with an undisturbed run's.

    A kill comes after a random number of steps and file operations, from outside; on two processes it hits one of them, or
    both at once. Where it hits one, the other follows a moment later, as under torchrun.
    """
    what = replace(what, every=EVERY, total=STEPS)
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="kills-") as place:
        undisturbed = in_world(processes, replace(what, folder=Path(place) / "undisturbed").train, STEPS)[0]
        killed, ended, otherwise = 0, 0, 0
        amid_a_save = 0
        while killed < kills:
            folder = Path(place) / f"run{ended}"
            told, tells = os.pipe()
            world = World(processes, _train, replace(what, folder=folder), tells)
            os.close(tells)
            was_killed = _kill(world, told, chance)
            os.close(told)
            if was_killed:
                world.wait()
                world.close()
                killed += 1
                amid_a_save += any(folder.glob(f"*{TEMPORARY}"))
                continue
            result = world.results()[0]
            ended += 1
            otherwise += not _same(result["weights"], undisturbed["weights"])
        folder = Path(place) / f"run{ended}"  # the last one killed is brought to its end too
        result = in_world(processes, replace(what, folder=folder).train, STEPS)[0]
        otherwise += not _same(result["weights"], undisturbed["weights"])
    return {
        "kills": killed,
        "amid_a_save": amid_a_save,
        "runs_brought_to_their_end": ended + 1,
        "runs_that_ended_otherwise": otherwise,
        "steps": STEPS,
        "a_checkpoint_every": EVERY,
    }


def _kill(world: World, told: int, chance: random.Random) -> bool:
    """Kill after a random number of what rank 0 tells; False if the run ended before."""
    left = chance.randrange(1, 60)
    while left > 0:
        heard = os.read(told, left)
        if not heard:
            return False
        left -= len(heard)
    victims = chance.choice([world.processes, *([one] for one in world.processes)])
    for process in victims:
        process.kill()
    for process in victims:
        process.join()
    for (
        process
    ) in world.processes:  # as torchrun's agent does when it sees one die; the others may be waiting for it
        process.kill()
    return True


def _train(what: RandomRun, tells: int) -> dict[str, Any]:
    """As a rank: rank 0 tells of each step and each file operation."""
    if not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0:
        sys.addaudithook(_teller(tells, str(what.folder)))
        return what.train(STEPS, lambda _: os.write(tells, b"s"))
    os.close(tells)
    return what.train(STEPS)


def _teller(tells: int, folder: str) -> Callable[[str, tuple[Any, ...]], None]:
    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if event in FILE_EVENTS and arguments and str(arguments[0]).startswith(folder):
            os.write(tells, b"f")

    return hear


def _same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(weight, other[name]) for name, weight in one.items())
