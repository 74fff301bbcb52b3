"""The loss on examples held out of training, by task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule

from optim.batches import Batcher
from optim.dataset import TokenDataset
from optim.parallel import rank, sum_numbers, world_size
from optim.qkclip import ClippableAttention


def held_out(dataset: TokenDataset, examples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train on and rows to hold out: at most `examples` and a tenth; a function of the seed."""
    rows = np.random.default_rng(seed).permutation(len(dataset))
    held = min(examples, len(dataset) // 10)
    return np.sort(rows[held:]), np.sort(rows[:held])


def mean_losses(
    model: nn.Module,
    dataset: TokenDataset,
    rows: np.ndarray,
    batch_tokens: int,
    precision: str,
    attentions: Sequence[ClippableAttention] = (),
) -> dict[str, float]:
    """Mean loss of a target token over all of `rows`, and over each task's; records no logits. Ranks share the work."""
    device = next(model.parameters()).device
    losses: dict[str, float] = {}
    sums, counts = 0.0, 0.0
    model.eval()
    with torch.no_grad(), _unrecorded(attentions):
        for number, task in enumerate(dataset.tasks):
            of_task = dataset.of_task(rows, number)
            if not len(of_task):
                continue
            task_sum, task_count = 0.0, 0.0
            batches = Batcher(dataset, of_task, batch_tokens, seed=0).epoch(0)
            for first in range(0, len(batches), world_size()):
                mine = first + rank()
                micro_batch = dataset.collate(batches[min(mine, len(batches) - 1)], number)
                with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
                    loss, count = model.loss(*(part.to(device) for part in micro_batch))  # type: ignore[operator]
                if mine < len(batches):  # else it only took part: sharded weights want every rank
                    task_sum += float(loss) * int(count)
                    task_count += int(count)
            task_sum, task_count = sum_numbers([task_sum, task_count], device)
            losses[f"eval_loss_{task}"] = task_sum / task_count
            sums, counts = sums + task_sum, counts + task_count
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()  # without a backward the root's weights would stay whole
    model.train()
    return {"eval_loss": sums / counts, **losses}


@contextmanager
def _unrecorded(attentions: Sequence[ClippableAttention]) -> Iterator[None]:
    recording = [attention.track_max_logits for attention in attentions]
    for attention in attentions:
        attention.track_max_logits = False
    try:
        yield
    finally:
        for attention, was in zip(attentions, recording, strict=True):
            attention.track_max_logits = was
