"""One rank of tests/optim/test_muonclip_ranks.py: DTensors of every kind under MuonClip, beside plain tensors."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor

from optim import MuonClip

CASES = {  # shape, placement of the parameter, whether Muon
    "rows": ((12, 8), Shard(0), True),
    "rows that do not divide": ((5, 9), Shard(0), True),
    "fewer rows than ranks": ((1, 6), Shard(0), True),
    "columns": ((6, 10), Shard(1), True),
    "whole": ((7, 7), Replicate(), True),
    "experts": ((4, 6, 10), Shard(0), True),
    "experts that do not divide": ((3, 6, 10), Shard(0), True),
    "experts by rows": ((2, 8, 5), Shard(1), True),
    "vector": ((9,), Shard(0), False),
}
STEPS = 3
OPTIONS = {"lr": 0.05, "nesterov": True, "ns_dtype": torch.float32}


def values(seed: int) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=random) for name, (shape, _, _) in CASES.items()}


def groups(parameters: dict[str, nn.Parameter]) -> list[dict]:
    return [
        {"params": [p for name, p in parameters.items() if CASES[name][2] is muon], "use_muon": muon}
        for muon in (True, False)
    ]


def alone() -> dict[str, torch.Tensor]:
    """The same steps in one process, on plain tensors."""
    parameters = {name: nn.Parameter(value) for name, value in values(0).items()}
    optimizer = MuonClip(groups(parameters), **OPTIONS)
    for step in range(STEPS):
        for name, gradient in values(step + 1).items():
            parameters[name].grad = gradient
        optimizer.step()
    return {name: p.detach() for name, p in parameters.items()}


def main(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    mesh = init_device_mesh("cpu", (2,))
    parameters = {
        name: nn.Parameter(distribute_tensor(value, mesh, [CASES[name][1]]))
        for name, value in values(0).items()
    }
    optimizer = MuonClip(groups(parameters), **OPTIONS)

    def step(seed: int, spoil: bool = False) -> None:
        for name, gradient in values(seed).items():
            placed = distribute_tensor(gradient, mesh, [CASES[name][1]])
            if name == "whole":  # a gradient that is still to be summed over the ranks
                placed = DTensor.from_local(gradient / 2, mesh, [Partial()])
            parameters[name].grad = placed
        if spoil and rank == 1:
            parameters["vector"].grad.to_local().fill_(float("nan"))
        optimizer.step()

    step(1)
    step(99, spoil=True)  # NaN on one rank: both skip
    skipped = optimizer.skipped_steps
    again = MuonClip(groups(parameters), **OPTIONS)
    again.load_state_dict(optimizer.state_dict())
    optimizer = again
    for seed in range(2, STEPS + 1):
        step(seed)
    whole = {name: p.detach().full_tensor() for name, p in parameters.items()}
    torch.save({"weights": whole, "skipped": skipped}, folder / f"rank{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
