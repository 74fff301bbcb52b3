"""Owner sharding: every matrix of a sharded model is orthogonalised whole, by one rank, and by no other.

A matrix whose rows lie on several ranks has an owner. The others send it their rows of the momentum (one all-to-all for all
matrices together), it runs Newton-Schulz, and sends back to each rank the rows of the result that the rank holds (another
one). A stack of experts is split along its experts, so that each slice is whole where it lies and nothing is sent; where
several ranks hold the same slices they share the work and exchange results.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor, Replicate, Shard

from optim.errors import OptimError
from optim.parallel import rank, world_size
from optim.sharding import Orthogonalise, local, split_dim


class OwnerSharding:
    """`optim.sharding.MatrixSharding` by owners, which are chosen when matrices are first seen."""

    def __init__(self) -> None:
        self._owners: dict[tuple[Any, ...], Owners] = {}

    def orthogonalise(self, directions: Sequence[DTensor], whole: Orthogonalise) -> list[Tensor]:
        """See `MatrixSharding`."""
        key = tuple((one.shape, one.placements, one.device_mesh) for one in directions)
        if key not in self._owners:
            self._owners[key] = Owners(directions)
        return self._owners[key].orthogonalise([local(one) for one in directions], whole)


class Piece(NamedTuple):
    """Rows `start` to `stop` of a unit (of matrices, if it is a stack), which `rank` has in its shard from `at` on."""

    rank: int
    start: int
    stop: int
    at: int


@dataclass(frozen=True)
class Unit:
    """What one rank orthogonalises at a time: a matrix, or some of a stack."""

    param: int
    shape: tuple[int, ...]
    owner: int
    sources: tuple[Piece, ...]
    """Who sends the owner which rows."""
    targets: tuple[Piece, ...]
    """Who gets which rows of the result."""

    @property
    def products(self) -> int:
        """Multiplications of a Newton-Schulz step: X X^T, its square, their sum times X; the short side first."""
        short, long = sorted(self.shape[-2:])
        stack = self.shape[0] if len(self.shape) == 3 else 1
        return stack * (2 * short * short * long + short**3)


class Owners:
    """The owners of `params`, which are the same, in the same order, on every rank of the default group.

    Matrices [n, m] may be sharded along n, stacks [e, n, m] along e, both replicated or not; tensors that are no DTensor
    are this rank's own affair. Raises `OptimError` for other placements.
    """

    def __init__(self, params: Sequence[Tensor]) -> None:
        self.rank, self.world = rank(), world_size()
        self.device = local(params[0]).device
        self.shapes = [tuple(local(p).shape) for p in params]
        self.units = _plan(params, self.rank, self.world)
        self.mine = [unit for unit in self.units if unit.owner == self.rank]

    def products(self) -> list[int]:
        """Multiplications that a Newton-Schulz step costs each rank."""
        work = [0] * self.world
        for unit in self.units:
            work[unit.owner] += unit.products
        return work

    def orthogonalise(self, shards: Sequence[Tensor], by: Orthogonalise) -> list[Tensor]:
        """From each parameter's shard of the momentum to its shard of the orthogonalised momentum.

        Every rank must call it at once, with shards of one dtype.
        """
        wholes = self._gather(shards)
        if not wholes:  # this rank owns nothing, but must know what the others will send
            return self._scatter([], by([shards[0].new_ones(1, 1)])[0].dtype)
        results = by(wholes)
        return self._scatter(results, results[0].dtype)

    def _gather(self, shards: Sequence[Tensor]) -> list[Tensor]:
        """The whole matrices that this rank owns."""
        to_send = [
            (unit.owner, shards[unit.param][piece.at : piece.at + piece.stop - piece.start])
            for unit in self.units
            for piece in unit.sources
            if piece.rank == self.rank and unit.owner != self.rank
        ]
        expected = [
            (piece.rank, (piece.stop - piece.start, *unit.shape[1:]))
            for unit in self.mine
            for piece in unit.sources
            if piece.rank != self.rank
        ]
        received = iter(self._exchange(to_send, expected, shards[0].dtype))
        wholes = []
        for unit in self.mine:
            parts = [
                shards[unit.param][piece.at : piece.at + piece.stop - piece.start]
                if piece.rank == self.rank
                else next(received)
                for piece in unit.sources
            ]
            wholes.append(parts[0] if len(parts) == 1 else torch.cat(parts))
        return wholes

    def _scatter(self, wholes: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
        """What this rank holds of every result."""
        to_send = [
            (piece.rank, whole[piece.start : piece.stop])
            for unit, whole in zip(self.mine, wholes, strict=True)
            for piece in unit.targets
            if piece.rank != self.rank
        ]
        held = [
            (unit, piece)
            for unit in self.units
            for piece in unit.targets
            if piece.rank == self.rank and unit.owner != self.rank
        ]
        expected = [(unit.owner, (piece.stop - piece.start, *unit.shape[1:])) for unit, piece in held]
        received = self._exchange(to_send, expected, dtype)
        parts: dict[int, list[tuple[int, Tensor]]] = defaultdict(list)
        for (unit, piece), part in zip(held, received, strict=True):
            parts[unit.param].append((piece.at, part))
        for unit, whole in zip(self.mine, wholes, strict=True):
            for piece in unit.targets:
                if piece.rank == self.rank:
                    parts[unit.param].append((piece.at, whole[piece.start : piece.stop]))
        results = []
        for i, shape in enumerate(self.shapes):
            ordered = [part for _, part in sorted(parts[i], key=lambda found: found[0])]
            if not ordered:
                ordered = [
                    torch.empty(shape, dtype=dtype, device=self.device)
                ]  # more ranks than rows: this one holds none
            results.append(ordered[0] if len(ordered) == 1 else torch.cat(ordered))
        return results

    def _exchange(
        self,
        to_send: Sequence[tuple[int, Tensor]],
        expected: Sequence[tuple[int, tuple[int, ...]]],
        dtype: torch.dtype,
    ) -> list[Tensor]:
        """One all-to-all: tensors to the ranks named, those that come in the order of `expected`."""
        if all(len({*_ranks(unit)}) == 1 for unit in self.units):
            return []
        send = sorted(to_send, key=lambda item: item[0])  # stable: within a rank, in the units' order
        sent, coming = [0] * self.world, [0] * self.world
        for to, tensor in send:
            sent[to] += tensor.numel()
        for source, shape in expected:
            coming[source] += math.prod(shape)
        flat = torch.empty(sum(sent), dtype=dtype, device=self.device)
        torch.cat([tensor.reshape(-1) for _, tensor in send] or [flat], out=flat)
        arrived = torch.empty(sum(coming), dtype=dtype, device=self.device)
        dist.all_to_all_single(arrived, flat, coming, sent)
        at = list(itertools.accumulate(coming, initial=0))
        parts = []
        for source, shape in expected:
            parts.append(arrived[at[source] : at[source] + math.prod(shape)].view(shape))
            at[source] += math.prod(shape)
        return parts


def _ranks(unit: Unit) -> list[int]:
    return [unit.owner, *(piece.rank for piece in (*unit.sources, *unit.targets))]


def _plan(params: Sequence[Tensor], me: int, world: int) -> list[Unit]:
    """Stacks first, where they lie; then matrices, the dearest first, each to the rank that has least to do."""
    units, work = [], [0] * world
    split: list[tuple[int, Tensor, Mapping[tuple[int, int], list[int]]]] = []
    for i, p in enumerate(params):
        if not isinstance(p, DTensor):
            shape = tuple(p.shape)
            piece = Piece(me, 0, shape[0], 0)
            units.append(Unit(i, shape, me, (piece,), (piece,)))
        elif p.ndim == 3:
            units += _shared_slices(i, p)
        else:
            split.append((i, p, _holders(p)))
    for unit in units:  # a tensor that is not distributed is every rank's own
        for one in [unit.owner] if isinstance(params[unit.param], DTensor) else range(world):
            work[one] += unit.products
    costs = {i: Unit(i, tuple(p.shape), 0, (), ()).products for i, p, _ in split}
    for i, p, holders in sorted(split, key=lambda item: (-costs[item[0]], item[0])):
        candidates = sorted({held for ranks in holders.values() for held in ranks})
        owner = min(candidates, key=lambda one: (work[one], one))
        work[owner] += costs[i]
        units.append(_matrix(i, tuple(p.shape), owner, holders))
    return units


def _matrix(i: int, shape: tuple[int, ...], owner: int, holders: Mapping[tuple[int, int], list[int]]) -> Unit:
    """A matrix whose rows (start, stop) lie on `holders`: the owner is sent each row once, by itself if it holds it."""
    sources, targets = [], []
    for (start, stop), ranks in sorted(holders.items()):
        if start == stop:
            continue
        sender = owner if owner in ranks else ranks[owner % len(ranks)]
        sources.append(Piece(sender, start, stop, 0))
        targets += [Piece(held, start, stop, 0) for held in ranks]
    return Unit(i, shape, owner, tuple(sources), tuple(targets))


def _holders(p: DTensor) -> dict[tuple[int, int], list[int]]:
    """From each run of rows to the ranks that hold it."""
    mesh, holders = p.device_mesh.mesh, defaultdict(list)
    for place in itertools.product(*(range(size) for size in mesh.shape)):
        start, stop = 0, p.shape[0]
        for placement, index, size in zip(p.placements, place, mesh.shape, strict=True):
            if type(placement) is Shard and placement.dim == 0:
                step = -(-(stop - start) // size)  # as torch.chunk
                start, stop = min(start + index * step, stop), min(start + (index + 1) * step, stop)
            elif not isinstance(placement, Replicate):
                raise OptimError(
                    f"Muon found a matrix of shape {tuple(p.shape)} placed as {p.placements}; it takes Shard(0) and "
                    "Replicate: shard rows, or put the parameter into a group with use_muon=False"
                )
        holders[start, stop].append(int(mesh[place]))
    return dict(holders)


def _shared_slices(i: int, p: DTensor) -> list[Unit]:
    """A stack's slices as units: whole where they lie, shared out among the ranks that hold the same ones."""
    mesh = p.device_mesh.mesh
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for placement in p.placements:
        if not isinstance(placement, Replicate) and split_dim(placement) != 0:
            raise OptimError(
                f"Muon found a stack of shape {tuple(p.shape)} placed as {p.placements}; it takes shards along the "
                "stack (dimension 0) and Replicate"
            )
    for place in itertools.product(*(range(size) for size in mesh.shape)):
        key = tuple(
            at for placement, at in zip(p.placements, place, strict=True) if split_dim(placement) == 0
        )
        groups[key].append(int(mesh[place]))
    counts = _slices_on_ranks(p)
    units = []
    for ranks in groups.values():
        count = counts[ranks[0]]
        step = -(-count // len(ranks))
        for number, owner in enumerate(ranks):
            start, stop = min(number * step, count), min((number + 1) * step, count)
            if start < stop:
                shape = (stop - start, *p.shape[1:])
                targets = tuple(Piece(held, 0, stop - start, start) for held in ranks)
                units.append(Unit(i, shape, owner, (Piece(owner, 0, stop - start, start),), targets))
    return units


def _slices_on_ranks(p: DTensor) -> dict[int, int]:
    """How many slices of a stack each rank holds.

    Where a stack is cut by several dimensions of the mesh (FSDP over expert parallelism cuts in strides), the cuts come out
    even, or this refuses.
    """
    mesh = p.device_mesh.mesh
    dims = [d for d, placement in enumerate(p.placements) if split_dim(placement) == 0]
    parts = math.prod(mesh.shape[d] for d in dims)
    if len(dims) > 1 and p.shape[0] % parts:
        raise OptimError(f"a stack of {p.shape[0]} matrices does not divide among {parts} ranks; use fewer")
    counts = {}
    for place in itertools.product(*(range(size) for size in mesh.shape)):
        index = 0
        for d in dims:
            index = index * mesh.shape[d] + place[d]
        step = -(-p.shape[0] // parts)
        counts[int(mesh[place])] = max(0, min(step, p.shape[0] - index * step))
    return counts
