"""A step of MuonClip beside `torch.optim.Muon`'s, on the parameters of a small mixture of experts, in one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from optim.muonclip import MuonClip

from ..settings import Settings

LAYERS, EXPERTS, WIDE, NARROW = 8, 32, 256, 128
ATTENTION = ((256, 256), (160, 256), (384, 128), (256, 256))  # queries, key-value down and up, output
REPEATS = 7


def run(settings: Settings) -> dict[str, Any]:
    """Median milliseconds of a step and the ratio; both do five Newton-Schulz steps, momentum and weight decay.

    `torch.optim.Muon` takes matrices alone, so that it gets each expert's apart; MuonClip gets a layer's stacked. Steps
    alternate, since the machine is shared. torch's Newton-Schulz is in bfloat16 whatever the machine; ours in the dtype that
    is fast on it: `both_in_bfloat16` says what that is worth.
    """
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    ours, theirs, ours_bf16 = _ours(None), _theirs(), _ours(torch.bfloat16)
    times: dict[str, list[float]] = {"muonclip": [], "torch_muon": [], "muonclip_bfloat16": []}
    steps: dict[str, Callable[[], object]] = {
        "muonclip": ours,
        "torch_muon": theirs,
        "muonclip_bfloat16": ours_bf16,
    }
    for repeat in range(REPEATS + 1):  # the first warms up
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            if repeat:
                times[name].append(time.perf_counter() - started)
    milliseconds = {name: statistics.median(some) * 1000 for name, some in times.items()}
    flops = 2 * 5 * sum(_newton_schulz_flops(*shape) for shape in _shapes())
    return {
        "threads": torch.get_num_threads(),
        "parameters": sum(n * m for n, m in _shapes()),
        "matrices": len(_shapes()),
        "step_ms": {name: round(one, 1) for name, one in milliseconds.items()},
        "step_time_ratio_to_torch_muon": round(milliseconds["muonclip"] / milliseconds["torch_muon"], 3),
        "both_in_bfloat16": round(milliseconds["muonclip_bfloat16"] / milliseconds["torch_muon"], 3),
        "newton_schulz_gflops_per_s": round(flops / milliseconds["muonclip"] / 1e6, 1),
        "peers_measured": ["torch.optim.Muon"],
    }


def _shapes() -> list[tuple[int, int]]:
    """Every matrix, experts one by one."""
    experts = [(NARROW, WIDE)] * (2 * EXPERTS) + [(WIDE, NARROW)] * EXPERTS
    return [*experts, *ATTENTION] * LAYERS


def _newton_schulz_flops(n: int, m: int) -> int:
    """Multiplications of one step on an n x m matrix: X X^T, its square, their sum times X; the short side first."""
    short, long = min(n, m), max(n, m)
    return 2 * short * short * long + short**3


def _ours(dtype: torch.dtype | None) -> Callable[[], object]:
    parameters = []
    for _ in range(LAYERS):
        parameters += [_random(EXPERTS, NARROW, WIDE), _random(EXPERTS, NARROW, WIDE)]
        parameters += [_random(EXPERTS, WIDE, NARROW), *(_random(*shape) for shape in ATTENTION)]
    optimizer = MuonClip([{"params": parameters, "use_muon": True}], lr=1e-3, nesterov=True, ns_dtype=dtype)
    return optimizer.step


def _theirs() -> Callable[[], object]:
    optimizer = torch.optim.Muon([_random(*shape) for shape in _shapes()], lr=1e-3)
    return optimizer.step


def _random(*shape: int) -> torch.nn.Parameter:
    parameter = torch.nn.Parameter(torch.randn(shape) * 0.02)
    parameter.grad = torch.randn(shape) * 1e-3
    return parameter
