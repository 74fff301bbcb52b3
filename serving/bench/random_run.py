"""A training run on random tokens, small enough to be repeated: what is compared between one process and several, and killed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from model.config import ModelConfig
from model.moe import Experts, update_router_bias
from model.transformer import Transformer
from optim import (
    Batcher,
    Checkpoints,
    ClippableAttention,
    DatasetBuilder,
    Journal,
    LoopSettings,
    MovingAverage,
    MuonClip,
    TokenDataset,
    split_parameters,
    train_loop,
    wsd,
)
from optim.layout import Layout, shard_model
from optim.owners import OwnerSharding
from optim.parallel import rank, world_size

SMALL = ModelConfig(
    vocab_size=61, hidden_size=24, num_hidden_layers=2, num_attention_heads=2, kv_lora_rank=16, qk_nope_head_dim=8,
    qk_rope_head_dim=8, v_head_dim=8, intermediate_size=33, moe_intermediate_size=16, n_routed_experts=4,
    num_experts_per_tok=2, max_position_embeddings=64,
)  # fmt: skip
LAYOUTS = {
    "FSDP2": Layout(),
    "experts divided, the rest copied": Layout(shard=1, experts=2),
    "both": Layout(shard=0, experts=2),
    "everything copied": Layout(shard=1),
}


@dataclass(frozen=True)
class RandomRun:
    """What to train on how many tokens a step; float32, so that runs can be compared."""

    layout: Layout = field(default_factory=Layout)
    shape: ModelConfig = SMALL
    batch_tokens: int = 320
    micro_batches: int = 2
    """Over all ranks together: with as many, one process and several add up the same sums."""
    total: int = 20
    tau: float = 100.0
    folder: Path | None = None
    """Where checkpoints are, and are resumed from."""
    every: int = 0
    poisoned: int | None = None
    """A rank on which every gradient has an infinity."""

    def build(self) -> tuple[Any, MuonClip]:
        """A model laid out over the ranks, and its optimizer."""
        torch.manual_seed(0)
        model = Transformer(self.shape)
        experts = [module for module in model.modules() if isinstance(module, Experts)]
        shard_model(model, list(model.layers), experts, self.layout, torch.device("cpu"))
        if self.poisoned == rank():
            model.norm.register_forward_hook(_spoil)
        attentions = [module for module in model.modules() if isinstance(module, ClippableAttention)]
        optimizer = MuonClip(
            split_parameters(model),
            2e-3,
            attentions=attentions,
            tau=self.tau,
            ns_dtype=torch.float32,
            sharding=OwnerSharding(),
        )
        return model, optimizer

    def train(self, steps: int, on_step: Callable[[int], object] | None = None) -> dict[str, Any]:
        """Train to step `steps` of `total`, from the last checkpoint if there is one.

        Losses, seconds, whole weights and their averages, heads clipped, steps skipped, where the data stand.
        """
        model, optimizer = self.build()
        scheduler, average = wsd(optimizer, self.total, 2, 0.2), MovingAverage(model, 0.9)
        data = random_data(self.shape)
        share = max(1, self.micro_batches // world_size())
        batcher = Batcher(
            data, torch.arange(len(data)).numpy(), self.batch_tokens, 0, share, rank(), world_size()
        )
        parts = {
            "model": model,
            "optimizer": optimizer,
            "scheduler": scheduler,
            "average": average,
            "data": batcher,
        }
        checkpoints = Checkpoints(self.folder) if self.folder else None
        snapshot = checkpoints.load() if checkpoints else None
        if snapshot:
            snapshot.restore(parts)
        start = snapshot.step if snapshot else 0
        journal = _Kept(steps, start, on_step)

        def after_step(model: torch.nn.Module) -> None:
            update_router_bias(model, 1e-3)
            average.update()

        outcome = train_loop(
            model,
            optimizer,
            scheduler,
            batcher,
            LoopSettings(steps, precision="fp32", checkpoint_every=self.every),
            journal,
            start=start,
            checkpoints=checkpoints,
            parts=parts,
            after_step=after_step,
        )
        weights = _whole(model.state_dict())
        with average.in_place():
            weights |= {f"average of {name}": value for name, value in _whole(model.state_dict()).items()}
        return {
            "start": start,
            "losses": [entry["loss"] for entry in journal.entries],
            "seconds": [entry["seconds"] for entry in journal.entries],
            "clipped": sum(entry["clipped_heads"] for entry in journal.entries),
            "skipped": outcome.skipped,
            "weights": weights,
            "data": batcher.state_dict(),
        }


def _spoil(_module: torch.nn.Module, _given: Any, output: Tensor) -> None:
    if output.requires_grad:
        output.register_hook(lambda gradient: gradient * torch.inf)


class _Kept(Journal):
    """Keeps what others write."""

    def __init__(self, steps: int, start: int, on_step: Callable[[int], object] | None) -> None:
        super().__init__(steps, start, silent=True)
        self.entries: list[Any] = []
        self._on_step = on_step

    def step(self, done: int, entry: Any) -> None:
        self.entries.append(entry)
        if self._on_step:
            self._on_step(done)


def random_data(shape: ModelConfig) -> TokenDataset:
    """Sequences of many lengths with prompts of many lengths."""
    random = torch.Generator().manual_seed(3)
    longest = shape.max_position_embeddings // 2
    builder = DatasetBuilder(shape.vocab_size, longest)
    for _ in range(160):
        prompt, target = torch.randint(1, longest // 2, (2,), generator=random).tolist()
        tokens = torch.randint(3, shape.vocab_size, (prompt + target,), generator=random).tolist()
        builder.add(tokens[:prompt], tokens[prompt:], "any")
    return builder.build()


def difference(one: dict[str, Any], other: dict[str, Any]) -> float:
    """The largest difference of a loss or a weight."""
    losses = [abs(a - b) for a, b in zip(one["losses"], other["losses"], strict=True)]
    weights = [
        float((weight - other["weights"][name]).abs().max()) for name, weight in one["weights"].items()
    ]
    return max([*losses, *weights])


def _whole(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).detach().clone()
        for name, tensor in tensors.items()
    }
