"""An exponential moving average of a model's weights, to export instead of the last ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from optim.sharding import local


class MovingAverage:
    """Follows `model`'s parameters: average <- decay * average + (1 - decay) * weights, after every step.

    Early on the decay is lower, (1 + t) / (10 + t), so that the initial weights are soon forgotten. Buffers
    are not averaged.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self._weights: list[Tensor] = [p for p in model.parameters() if p.requires_grad]
        self._average = [p.detach().clone() for p in self._weights]

    @torch.no_grad()
    def update(self) -> None:
        """Take the current weights into the average."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        torch._foreach_lerp_(_shards(self._average), _shards(self._weights), 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within the block the model's weights are the average."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        weights, average = _shards(self._weights), _shards(self._average)
        kept = [weight.clone() for weight in weights]
        torch._foreach_copy_(weights, average)
        torch._foreach_copy_(average, kept)

    def state_dict(self) -> dict[str, Any]:
        """For checkpoints."""
        return {"steps": self.steps, "average": self._average}

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From a checkpoint of the same model."""
        self.steps = state_dict["steps"]
        torch._foreach_copy_(_shards(self._average), _shards(state_dict["average"]))


def _shards(tensors: list[Tensor]) -> list[Tensor]:
    """Each rank averages what it holds."""
    return [local(tensor.detach()) for tensor in tensors]
