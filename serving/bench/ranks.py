"""What several processes cost beside one: peak memory and time of a step on each rank, and who does Newton-Schulz."""

from __future__ import annotations

import os
import resource
import statistics
from dataclasses import replace
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from model.config import PRESETS
from optim.sharding import local
from optim.worlds import in_world

from ..settings import Settings
from .random_run import LAYOUTS, RandomRun

STEPS = 6  # the first two are not timed


def run(settings: Settings) -> dict[str, Any]:
    """One process, two with FSDP2, two with experts divided, two with both, on the preset SURESQL_PRESET (tiny).

    The two share this machine's cores with one another, so that their seconds say what communication costs, not what a second
    machine gains. `newton_schulz_gflop` is counted where it is done, and adds up to one process's: nothing is repeated.
    """
    preset = os.environ.get("SURESQL_PRESET", "tiny")
    what = RandomRun(shape=PRESETS[preset], batch_tokens=2048)
    cases = {"one process": (1, RandomRun().layout)}
    cases |= {f"two: {name}": (2, layout) for name, layout in LAYOUTS.items()}
    table = {
        name: in_world(world, _measure, replace(what, layout=layout))
        for name, (world, layout) in cases.items()
    }
    alone = table["one process"][0]["newton_schulz_gflop"]
    return {
        "preset": preset,
        "tokens_a_step": what.batch_tokens,
        "ranks": table,
        "newton_schulz_work_ratio_to_one_process": {
            name: round(sum(rank["newton_schulz_gflop"] for rank in ranks) / alone, 4)
            for name, ranks in table.items()
        },
    }


def _measure(what: RandomRun) -> dict[str, Any]:
    """Of this rank. The process is a fork: what it had before the run is told apart."""
    before = _peak_mb()
    seconds = what.train(STEPS)["seconds"][2:]
    after = _peak_mb()
    model, optimizer = what.build()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    with FlopCounterMode(display=False) as counter:
        optimizer.step()
    held = [local(tensor) for tensor in (*model.parameters(), *_tensors(optimizer))]
    return {
        "step_s": round(statistics.median(seconds), 4),
        "peak_mb": round(after - before, 1),
        "weights_and_state_mb": round(sum(one.numel() * one.element_size() for one in held) / 1e6, 3),
        "newton_schulz_gflop": counter.get_total_flops() / 1e9,
    }


def _tensors(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [value for state in optimizer.state.values() for value in state.values() if torch.is_tensor(value)]


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
