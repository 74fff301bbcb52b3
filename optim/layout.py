"""How a model lies on several processes: FSDP2 for what every token meets, expert parallelism for the routed experts.

A dense weight is split by rows over `shard` ranks and copied `world / shard` times; a layer's experts are divided among
`experts` ranks, and each share is split further, or copied, over the rest. One process has plain tensors and none of this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method

from optim.errors import ConfigError
from optim.expert_parallel import divide_experts
from optim.parallel import world_size


@dataclass(frozen=True)
class Layout:
    """Over how many ranks dense weights are split (0: all), and among how many a layer's experts are divided."""

    shard: int = 0
    experts: int = 1

    def on(self, world: int) -> Layout:
        """The same with `shard` settled; `ConfigError` if `world` ranks do not divide so."""
        shard = self.shard or world
        there = f"{world} process{'es' if world > 1 else ''}"
        for key, parts in (("shard", shard), ("experts", self.experts)):
            if world % parts:
                raise ConfigError(
                    f"parallel.{key} is {parts}, but this run has {there}, which {parts} does not divide; "
                    f"choose a divisor, or start torchrun with a multiple of {parts}"
                )
        return Layout(shard, self.experts)


def shard_model(
    model: nn.Module,
    layers: Sequence[nn.Module],
    experts: Sequence[nn.Module],
    layout: Layout,
    device: torch.device,
) -> None:
    """Distribute `model`'s parameters, in place; it is called through `model.loss` from then on.

    `layers` are the modules whose weights are gathered, used and let go together; `experts` those of them whose
    parameters are stacks of experts (`optim.expert_parallel.RoutedExperts`). Every rank must hold the same weights.
    Gradients become sums over the ranks. Nothing is done on one process.
    """
    world = world_size()
    layout = layout.on(world)
    if world == 1:
        return
    sharded: list[FSDPModule] = []
    apart: set[nn.Parameter] = set()
    if layout.experts > 1:
        rest = world // layout.experts
        mesh = init_device_mesh(device.type, (rest, layout.experts), mesh_dim_names=("copies", "experts"))
        for module in experts:
            divide_experts(module, mesh["experts"])
            if rest > 1:
                sharded.append(fully_shard(module, mesh=mesh["copies"]))
            else:
                apart |= set(module.parameters())
    dense = _dense_mesh(device, world, layout.shard)
    for module in [*layers, model]:
        ignored = apart & set(module.parameters())
        sharded.append(fully_shard(module, mesh=dense, ignored_params=ignored))
    for part in sharded:
        part.set_gradient_divide_factor(1.0)  # the loop divides by the targets of all ranks
        part.set_force_sum_reduction_for_comms(True)
    register_fsdp_forward_method(model, "loss")


def _dense_mesh(device: torch.device, world: int, shard: int) -> DeviceMesh:
    if shard == world:
        return init_device_mesh(device.type, (world,), mesh_dim_names=("shard",))
    return init_device_mesh(device.type, (world // shard, shard), mesh_dim_names=("copies", "shard"))
