"""The door between MuonClip and whoever moves parts of a matrix between ranks.

Newton-Schulz needs whole matrices. A parameter that is no DTensor, or is a stack `[E, n, m]` sharded over its first axis, has
whole matrices on each rank, and MuonClip asks nobody. For the others (FSDP2 shards a matrix by rows; ranks hold copies) it keeps
momentum and weights sharded and hands the directions, all at once, to a `MatrixSharding`:

    MuonClip(groups, sharding=OwnerSharding(...))

`GatherWhole` is the plain one: every rank gathers every matrix and does the same work. An owner-sharded one sends each
matrix's parts to one owner, calls `orthogonalise` on what this rank owns, and sends the parts back; it has the whole list at
once so that it can balance owners by cost and join messages. Both must return the same numbers but for rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, Placement, Replicate

Orthogonalise = Callable[[Sequence[Tensor]], list[Tensor]]
"""Whole plain matrices or stacks, of any shapes, to their orthogonalised ones, same shapes, in the dtype of Newton-Schulz."""


class MatrixSharding(Protocol):
    """Orthogonalises matrices whose parts lie on several ranks."""

    def orthogonalise(self, directions: Sequence[DTensor], whole: Orthogonalise) -> list[Tensor]:
        """This rank's part of each orthogonalised direction, as a plain tensor of `direction.to_local()`'s shape.

        Every rank calls it with the same directions in the same order. A part may be empty (fewer rows than
        ranks).
        """


class GatherWhole:
    """Every rank gathers every matrix: simple, and each rank repeats the others' work."""

    def orthogonalise(self, directions: Sequence[DTensor], whole: Orthogonalise) -> list[Tensor]:
        """See `MatrixSharding`."""
        matrices = whole([direction.full_tensor() for direction in directions])
        return [local_part(matrix, like) for matrix, like in zip(matrices, directions, strict=True)]


def local_part(whole: Tensor, like: DTensor) -> Tensor:
    """What this rank holds of a tensor that every rank has whole, under the placements of `like`."""
    replicated = DTensor.from_local(
        whole, like.device_mesh, [Replicate()] * like.device_mesh.ndim, run_check=False
    )
    return replicated.redistribute(placements=like.placements).to_local()


def has_whole_matrices(parameter: Tensor) -> bool:
    """Whether each rank's own memory holds whole matrices of this parameter that no other rank holds: they need nobody.

    Copies do: their ranks share the work.
    """
    if not isinstance(parameter, DTensor):
        return True
    return all(
        parameter.device_mesh.size(axis) == 1 or (parameter.ndim == 3 and split_dim(placement) == 0)
        for axis, placement in enumerate(parameter.placements)
    )


def split_dim(placement: Placement) -> int | None:
    """The dimension along which a placement splits a tensor, also in strides (FSDP2 over experts that are divided already)."""
    return getattr(placement, "dim", None)


def local(tensor: Tensor, like: Tensor | None = None) -> Tensor:
    """The tensor in this rank's memory; a DTensor gradient is first brought to the placements of its parameter, `like`."""
    if not isinstance(tensor, DTensor):
        return tensor
    if isinstance(like, DTensor) and tensor.placements != like.placements:
        tensor = tensor.redistribute(placements=like.placements)
    return tensor.to_local()


def any_rank(found: bool, device: torch.device) -> bool:
    """Whether it is so on any rank of the process group; every rank must ask."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return found
    if torch.distributed.get_world_size() == 1:
        return found
    vote = torch.tensor(float(found), device=device)
    torch.distributed.all_reduce(vote, op=torch.distributed.ReduceOp.MAX)
    return bool(vote > 0)
