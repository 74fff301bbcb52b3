"""Run by test_interrupt: trains without end, or hangs in a step, until signals come."""

import sys
from pathlib import Path

import torch
from tiny_training import batches, build

from optim import Checkpoints, Journal, LoopSettings, train_loop

STEPS = 1_000_000


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, mode = Path(sys.argv[1]), sys.argv[2]
    model, optimizer, scheduler = build(STEPS)

    def after_step(_):
        print("stepped", flush=True)
        while mode == "hang":
            pass

    outcome = train_loop(
        model,
        optimizer,
        scheduler,
        batches,
        LoopSettings(STEPS, precision="fp32"),
        Journal(STEPS),
        checkpoints=Checkpoints(folder),
        parts={"model": model, "optimizer": optimizer, "scheduler": scheduler},
        after_step=after_step,
    )
    print(f"interrupted {outcome.interrupted} at {outcome.step}", flush=True)
