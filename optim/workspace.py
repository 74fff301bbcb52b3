"""Buffers that are kept from one step to the next: fresh memory of megabytes costs a page fault for every 4 kB of it."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Workspace:
    """Hands out uninitialised tensors by name; a name's memory is the same each time and grows when it must."""

    def __init__(self) -> None:
        self._memory: dict[tuple[str, torch.dtype, torch.device], Tensor] = {}

    def take(self, name: str, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
        """A tensor of this shape; whatever was taken under the same name before is overwritten."""
        key, size = (name, dtype, device), math.prod(shape)
        memory = self._memory.get(key)
        if memory is None or len(memory) < size:
            memory = self._memory[key] = torch.empty(size, dtype=dtype, device=device)
        return memory[:size].view(shape)

    def __deepcopy__(self, _memo: object) -> Workspace:
        return Workspace()

    def __reduce__(self) -> tuple[type[Workspace], tuple[()]]:
        return Workspace, ()
