"""Data parallelism in its plainest form: sums over ranks, in one flat buffer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor


def rank() -> int:
    """This process's number among the ranks; 0 without `torch.distributed`."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def world_size() -> int:
    """How many ranks train together; 1 without `torch.distributed`."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def barrier() -> None:
    """Wait until every rank is here."""
    if world_size() > 1:
        dist.barrier()


@torch.no_grad()
def sum_gradients(parameters: Sequence[Tensor]) -> None:
    """Add up every parameter's gradient over all ranks; a rank without one counts as zero."""
    if world_size() == 1:
        return
    for p in parameters:
        if p.grad is None:
            p.grad = torch.zeros_like(p)
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    dist.all_reduce(flat)
    parts = flat.split([gradient.numel() for gradient in gradients])
    torch._foreach_copy_(gradients, [part.view_as(g) for part, g in zip(parts, gradients, strict=True)])


def sum_numbers(numbers: Sequence[float], device: torch.device) -> list[float]:
    """Add up each number over all ranks."""
    if world_size() == 1:
        return list(numbers)
    joined = torch.tensor(numbers, dtype=torch.float64, device=device)
    dist.all_reduce(joined)
    return joined.tolist()
