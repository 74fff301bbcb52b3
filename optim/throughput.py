"""What a device multiplies at best: what model FLOPs utilisation (MFU) is measured against."""

from __future__ import annotations

import time

import torch

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


def matmul_rate(device: torch.device, precision: str, repeats: int = 8) -> float:
    """FLOP/s of the best of a few square products on this process's threads, or its GPU; about a tenth of a second."""
    size = 8192 if device.type == "cuda" else 1024
    left = torch.full((size, size), 0.5, dtype=DTYPES[precision], device=device)
    out = torch.empty_like(left)
    best = float("inf")
    for _ in range(repeats):
        _finish(device)
        began = time.perf_counter()
        torch.mm(left, left, out=out)
        _finish(device)
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
