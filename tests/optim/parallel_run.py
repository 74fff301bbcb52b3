"""Run by test_parallel: one rank of a data-parallel training over gloo; writes its weights."""

import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from tiny_training import VOCABULARY, build

from optim import Batcher, DatasetBuilder, Journal, LoopSettings, train_loop

STEPS = 6


def dataset():
    """Sequences of many lengths with prompts of many lengths."""
    random = torch.Generator().manual_seed(3)
    builder = DatasetBuilder(VOCABULARY, max_length=40)
    for _ in range(120):
        prompt, target = torch.randint(1, 18, (2,), generator=random).tolist()
        tokens = torch.randint(VOCABULARY, (prompt + target,), generator=random).tolist()
        builder.add(tokens[:prompt], tokens[prompt:], "any")
    return builder.build()


def run(rank, world, accumulate=1):
    data = dataset()
    model, optimizer, scheduler = build(STEPS, tau=0.3)
    clipped = 0

    def count_clipped(_):
        nonlocal clipped
        clipped += optimizer.last_clip.clipped_heads

    stream = Batcher(data, torch.arange(len(data)).numpy(), 160, 0, accumulate, rank, world)
    settings = LoopSettings(STEPS, precision="fp32")
    journal = Journal(STEPS, silent=True)
    train_loop(model, optimizer, scheduler, stream, settings, journal, after_step=count_clipped)
    return {"weights": model.state_dict(), "clipped": clipped}


if __name__ == "__main__":
    torch.set_num_threads(1)
    rank, world, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    store = dist.FileStore(str(folder / "store"), world)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world, timeout=timedelta(minutes=3))
    torch.save(run(rank, world), folder / f"rank{rank}.pt")
    dist.destroy_process_group()
