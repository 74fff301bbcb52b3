"""Run by test_torchrun: one rank of a random run, in the world that torchrun made; rank 0 writes what came out."""

import sys

import torch
import torch.distributed as dist

from optim.launch import set_up
from serving.bench.random_run import LAYOUTS, RandomRun

if __name__ == "__main__":
    set_up("cpu", threads=1)
    result = RandomRun(LAYOUTS[sys.argv[1]]).train(20)
    if dist.get_rank() == 0:
        torch.save({"world": dist.get_world_size(), **result}, sys.argv[2])
    dist.destroy_process_group()
