"""In which dtype matrix products are fastest on this machine: measured, since a CPU's features do not tell."""

from __future__ import annotations

import math
import time
from functools import cache

import torch
import torch.distributed as dist

WORTH_ROUNDING = 1.25  # how much faster bfloat16 must be to be taken


@cache
def fast_dtype(device: torch.device) -> torch.dtype:
    """The dtype in which `device` multiplies matrices fastest at a precision that Newton-Schulz bears.

    Measured once per process on a CPU (some 20 ms): which of bfloat16 and float32 is faster cannot be told
    from its features. Ranks of one group, and a resumed run, need one answer: see `agreed_dtype`.
    """
    if device.type != "cpu":
        return torch.bfloat16
    faster = _product_seconds(torch.float32) / _product_seconds(torch.bfloat16)
    return torch.bfloat16 if faster > WORTH_ROUNDING else torch.float32


def agreed_dtype(device: torch.device) -> torch.dtype:
    """`fast_dtype`, the same on every rank of the process group; every rank must call it."""
    dtype = fast_dtype(device)
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        votes = torch.tensor(float(dtype == torch.bfloat16), device=device)
        dist.all_reduce(votes, op=dist.ReduceOp.MIN)
        dtype = torch.bfloat16 if votes > 0 else torch.float32
    return dtype


def _product_seconds(dtype: torch.dtype) -> float:
    """The best of a few products: what disturbs a measurement only ever makes it slower."""
    left = torch.full((8, 192, 192), 0.5, dtype=dtype)
    out = torch.empty_like(left)
    best = math.inf
    for _ in range(6):
        started = time.perf_counter()
        torch.bmm(left, left, out=out)
        best = min(best, time.perf_counter() - started)
    return best
