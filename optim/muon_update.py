"""One Muon update of many matrices, in chunks that stay in a CPU's cache.

A step reads gradients, momenta and weights once and writes the latter two once: 20 bytes a float32 weight, which is what it
costs at the least beside the matrix products. Everything between happens in a few megabytes of buffers: matrices of one shape,
from stacks of experts or single ones, are cast side by side into a chunk, orthogonalised, and subtracted.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from optim.newton_schulz import orthogonalise
from optim.workspace import Workspace

RMS_OF_ADAMW = 0.2
CHUNK = (
    1 << 19
)  # elements of a chunk on a CPU: 16 matrices of 128 x 256, of which a layer's products leave the cache no more
CHUNK_ELSEWHERE = 1 << 26


@dataclass(frozen=True)
class Settings:
    """What a parameter group says about its Muon updates."""

    lr: float
    weight_decay: float
    momentum: float
    nesterov: bool
    method: str
    steps: int
    dtype: torch.dtype

    def update_scale(self, n: int, m: int) -> float:
        """What the orthogonalised n x m matrix is multiplied by before it is added."""
        return -self.lr * RMS_OF_ADAMW * math.sqrt(max(n, m))


@dataclass(frozen=True)
class Stack:
    """Matrices `[E, n, m]` of one parameter, with their gradients and momenta; all three plain tensors."""

    weights: Tensor
    gradients: Tensor
    momenta: Tensor

    @classmethod
    def of(cls, weight: Tensor, gradient: Tensor, momentum: Tensor) -> Stack:
        """Of a matrix or a stack."""
        if weight.ndim == 2:
            weight, gradient, momentum = weight[None], gradient[None], momentum[None]
        return cls(weight, gradient.to(momentum.dtype), momentum)

    def part(self, start: int, stop: int) -> Stack:
        """Matrices start to stop."""
        return Stack(self.weights[start:stop], self.gradients[start:stop], self.momenta[start:stop])


def muon_update_(stacks: Iterable[Stack], settings: Settings, space: Workspace) -> None:
    """Update momenta and weights in place: `optim.muonclip`'s formula."""
    for chunk in _chunks(stacks):
        weights = chunk[0].weights
        shape = (sum(len(stack.weights) for stack in chunk), *weights.shape[1:])
        wide_Bnm = space.take("wide", shape, weights.dtype, weights.device)
        x_Bnm = space.take("narrow", shape, settings.dtype, weights.device)
        for stack, wide, x in _side_by_side(chunk, wide_Bnm, x_Bnm):
            stack.momenta.lerp_(stack.gradients, 1 - settings.momentum)
            if settings.nesterov:
                torch.lerp(stack.gradients, stack.momenta, settings.momentum, out=wide)
            x.copy_(wide if settings.nesterov else stack.momenta)
        scale = settings.update_scale(*shape[1:])
        updates_Bnm = orthogonalise(x_Bnm, settings.method, settings.steps, scale, space)
        wide_Bnm.copy_(updates_Bnm)  # a sum of two dtypes would be slower by far
        for stack, wide, _ in _side_by_side(chunk, wide_Bnm, x_Bnm):
            torch.add(wide, stack.weights, alpha=1 - settings.lr * settings.weight_decay, out=stack.weights)


def orthogonalise_all(matrices: Sequence[Tensor], settings: Settings, space: Workspace) -> list[Tensor]:
    """The orthogonalised matrices or stacks, unscaled, batched as in `muon_update_`; in the dtype of the products."""
    results = [torch.empty(one.shape, dtype=settings.dtype, device=one.device) for one in matrices]
    stacks = (Stack.of(out, one, one) for one, out in zip(matrices, results, strict=True))
    for chunk in _chunks(stacks):
        shape = (sum(len(stack.weights) for stack in chunk), *chunk[0].weights.shape[1:])
        x_Bnm = space.take("narrow", shape, settings.dtype, chunk[0].weights.device)
        for stack, x, _ in _side_by_side(chunk, x_Bnm, x_Bnm):
            x.copy_(stack.momenta)
        updates_Bnm = orthogonalise(x_Bnm, settings.method, settings.steps, 1.0, space)
        for stack, update, _ in _side_by_side(chunk, updates_Bnm, updates_Bnm):
            stack.weights.copy_(update)
    return results


def _chunks(stacks: Iterable[Stack]) -> Iterator[list[Stack]]:
    """Stacks of one shape, dtype and device, cut and joined to at most a chunk's size."""
    batches: dict[tuple[object, ...], list[Stack]] = defaultdict(list)
    for stack in stacks:
        weights = stack.weights
        batches[(*weights.shape[1:], weights.dtype, stack.momenta.dtype, weights.device)].append(stack)
    for batch in batches.values():
        first = batch[0].weights
        elements = CHUNK if first.device.type == "cpu" else CHUNK_ELSEWHERE
        limit = max(1, elements // max(1, first.shape[1] * first.shape[2]))
        chunk: list[Stack] = []
        room = limit
        for stack in batch:
            start, count = 0, len(stack.weights)
            while start < count:
                stop = min(count, start + room)
                chunk.append(stack.part(start, stop))
                room -= stop - start
                start = stop
                if room == 0:
                    yield chunk
                    chunk, room = [], limit
        if chunk:
            yield chunk


def _side_by_side(chunk: list[Stack], *buffers: Tensor) -> Iterator[tuple[Stack, Tensor, Tensor]]:
    """Each stack with its part of two buffers."""
    start = 0
    for stack in chunk:
        stop = start + len(stack.weights)
        yield stack, buffers[0][start:stop], buffers[1][start:stop]
        start = stop
