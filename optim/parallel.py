"""Several processes as one: ranks, sums over them, the norm of gradients that are spread over them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor

from optim.sharding import local, split_dim


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


def copies(tensor: Tensor) -> int:
    """On how many ranks each element of a tensor is."""
    if not isinstance(tensor, DTensor):
        return world_size()
    sharded = (
        tensor.device_mesh.size(d)
        for d, placement in enumerate(tensor.placements)
        if split_dim(placement) is not None
    )
    return world_size() // math.prod(sharded)


@torch.no_grad()
def total_norm(tensors: Sequence[Tensor]) -> float:
    """The Euclidean norm of all tensors together, each element counted once however many ranks hold it.

    Infinite or NaN on every rank if an element of any of them is.
    """
    if not tensors:
        return 0.0
    shards = [local(tensor) for tensor in tensors]
    norms = torch.stack(torch._foreach_norm(shards)).double()
    weights = torch.tensor(
        [1 / copies(tensor) for tensor in tensors], dtype=torch.float64, device=norms.device
    )
    square = norms.square().mul_(weights).sum()
    if world_size() > 1:
        dist.all_reduce(square)
    return math.sqrt(float(square))


def sum_numbers(numbers: Sequence[float], device: torch.device) -> list[float]:
    """Add up each number over all ranks."""
    if world_size() == 1:
        return list(numbers)
    joined = torch.tensor(numbers, dtype=torch.float64, device=device)
    dist.all_reduce(joined)
    return joined.tolist()
