"""Expert parallelism: a layer's experts divided among ranks, and tokens sent to where their experts are.

GShard's exchange (arXiv 2006.16668) around a module of experts that knows nothing of it: each rank sends its rows to the
ranks of their experts (all-to-all), the module runs on what arrived with the experts that it has, and the results go back
the same way. A rank's share of the weights is a DTensor, Shard(0) over the experts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import Shard, distribute_tensor

from optim.errors import ConfigError


class RoutedExperts(Protocol):
    """A module whose parameters are stacks [E, ...] of experts, called with x_ND and two tables [N, A]: the weights of each
    token's experts and their numbers. It returns each token's weighted sum, [N, D], and works as well on a part of the stack
    with one expert a row (A = 1).
    """

    def __call__(self, x_ND: Tensor, weights_NA: Tensor, experts_NA: Tensor) -> Tensor: ...


def divide_experts(experts: nn.Module, mesh: DeviceMesh) -> None:
    """Keep this rank's share of the stacks, and exchange rows around the module's forward.

    `ConfigError` if the experts do not divide evenly among the ranks of `mesh` (one-dimensional).
    """
    for name, parameter in list(experts.named_parameters(recurse=False)):
        if parameter.shape[0] % mesh.size():
            raise ConfigError(
                f"parallel.experts is {mesh.size()}, but {parameter.shape[0]} experts do not divide by it; "
                "choose a divisor of model.n_routed_experts"
            )
        shard = distribute_tensor(parameter.detach(), mesh, [Shard(0)])
        experts.register_parameter(name, nn.Parameter(shard))
    total = next(experts.parameters()).shape[0]
    exchange = _Exchange(mesh.get_group(), total // mesh.size())
    experts.register_forward_pre_hook(exchange.send)
    experts.register_forward_hook(exchange.bring_back)


@dataclass(frozen=True)
class _Route:
    """How the rows of one forward were sent: `order_P` sorts a rank's pairs of token and expert by expert."""

    order_P: Tensor
    sent: list[int]
    received: list[int]
    choices: int


class _Exchange:
    """The hooks of one module; `count` experts are this rank's."""

    def __init__(self, group: dist.ProcessGroup, count: int) -> None:
        self.group, self.count = group, count
        self._route: _Route | None = None

    def send(self, _module: nn.Module, given: tuple[Any, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """Rows, weights and experts' numbers of all ranks' pairs that fall to this rank's experts."""
        x_ND, weights_NA, experts_NA = given
        ranks = self.group.size()
        flat = experts_NA.flatten()
        order_P = flat.argsort(stable=True)
        counts_R = (flat // self.count).bincount(minlength=ranks)
        arriving_R = torch.empty_like(counts_R)
        dist.all_to_all_single(arriving_R, counts_R, group=self.group)
        sent, received = torch.stack([counts_R, arriving_R]).tolist()
        self._route = _Route(order_P, sent, received, experts_NA.shape[1])
        token_P = order_P.div(experts_NA.shape[1], rounding_mode="floor")
        x_PD = _AllToAll.apply(x_ND.index_select(0, token_P), sent, received, self.group)
        weights_P = _AllToAll.apply(weights_NA.flatten().index_select(0, order_P), sent, received, self.group)
        experts_P = _all_to_all((flat % self.count).index_select(0, order_P), sent, received, self.group)
        return x_PD, weights_P[:, None], experts_P[:, None]

    def bring_back(self, _module: nn.Module, _given: Any, y_PD: Tensor) -> Tensor:
        """Each token's sum, [N, D], from the rows that were computed here and elsewhere."""
        route, self._route = self._route, None
        assert route is not None
        y_PD = _AllToAll.apply(y_PD, route.received, route.sent, self.group)
        place_P = torch.empty_like(route.order_P).scatter_(
            0, route.order_P, torch.arange(len(route.order_P), device=y_PD.device)
        )
        return y_PD.index_select(0, place_P).unflatten(0, (-1, route.choices)).sum(1)


class _AllToAll(torch.autograd.Function):
    """Rows to other ranks; their gradients come back the same way."""

    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, sent: list[int], received: list[int], group: dist.ProcessGroup
    ) -> Tensor:
        ctx.sizes, ctx.group = (received, sent), group
        return _all_to_all(rows, sent, received, group)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        sent, received = ctx.sizes
        return _all_to_all(gradient, sent, received, ctx.group), None, None, None


def _all_to_all(rows: Tensor, sent: list[int], received: list[int], group: dist.ProcessGroup) -> Tensor:
    arrived = rows.new_empty(sum(received), *rows.shape[1:])
    dist.all_to_all_single(arrived, rows.contiguous(), received, sent, group=group)
    return arrived
