"""Mixture of experts: DeepSeek-V3's router (arXiv 2412.19437, 2.1.2) and experts run one after another.

Suffixes as in `transformer.py`, and here: N = tokens of the whole batch, A = experts of a token (top-k),
P = N * A pairs of token and expert, sorted by expert, I = width of an expert.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.distributed.tensor import DTensor

from model.config import ModelConfig
from model.swiglu import SwiGLU


class Router(nn.Module):
    """Chooses each token's experts by sigmoid score plus a bias that balances the load without a loss.

    load_E counts the tokens that each expert got in training since the last `update_router_bias`. While `watched`, `seen`
    holds the last forward's scores [N, E] and choice [N, A], for `sequence_balance`.
    """

    e_score_correction_bias: Tensor
    load_E: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.weight = nn.Parameter(torch.empty(config.n_routed_experts, config.hidden_size))
        self.register_buffer("e_score_correction_bias", torch.zeros(config.n_routed_experts))
        self.register_buffer("load_E", torch.zeros(config.n_routed_experts), persistent=False)
        self.watched = False
        self.seen: tuple[Tensor, Tensor] | None = None

    def forward(self, x_ND: Tensor) -> tuple[Tensor, Tensor]:
        """Weights and indices of the chosen experts, both [N, A]; scores are float32 even under autocast."""
        config = self.config
        with torch.autocast(x_ND.device.type, enabled=False):
            scores_NE = F.linear(x_ND.to(self.weight.dtype), self.weight).sigmoid()
        choice_NE = scores_NE.detach() + self.e_score_correction_bias
        if config.n_group > 1:
            choice_NE = self._keep_best_groups(choice_NE)
        experts_NA = choice_NE.topk(config.num_experts_per_tok, dim=-1, sorted=False).indices
        if self.watched:
            self.seen = scores_NE, experts_NA
        weights_NA = scores_NE.gather(1, experts_NA)
        if config.norm_topk_prob:
            weights_NA = weights_NA / (weights_NA.sum(-1, keepdim=True) + 1e-20)
        if self.training:
            self.load_E += experts_NA.flatten().bincount(minlength=config.n_routed_experts)
        return weights_NA * config.routed_scaling_factor, experts_NA

    def _keep_best_groups(self, choice_NE: Tensor) -> Tensor:
        """Rule out the experts of all but the topk_group groups with the largest sum of two best scores."""
        choice_NGg = choice_NE.unflatten(-1, (self.config.n_group, -1))
        best_NG = choice_NGg.topk(2, dim=-1).values.sum(-1).topk(self.config.topk_group, dim=-1).indices
        out_NG = torch.ones(choice_NGg.shape[:2], dtype=torch.bool, device=choice_NE.device)
        out_NG.scatter_(1, best_NG, False)
        return choice_NGg.masked_fill(out_NG[..., None], -torch.inf).flatten(1)


class Experts(nn.Module):
    """The routed experts' weights, stacked: gate_proj and up_proj [E, I, D], down_proj [E, D, I].

    Of a stack that is distributed it runs what this process has; then experts_NA counts from there.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        count, width, size = config.n_routed_experts, config.moe_intermediate_size, config.hidden_size
        self.gate_proj = nn.Parameter(torch.empty(count, width, size))
        self.up_proj = nn.Parameter(torch.empty(count, width, size))
        self.down_proj = nn.Parameter(torch.empty(count, size, width))

    def forward(self, x_ND: Tensor, weights_NA: Tensor, experts_NA: Tensor) -> Tensor:
        """Each token's weighted sum of its experts' outputs, [N, D]."""
        matrices = [
            matrix.to_local() if isinstance(matrix, DTensor) else matrix
            for matrix in (self.gate_proj, self.up_proj, self.down_proj)
        ]
        routes = Routes(experts_NA, len(matrices[0]))
        kind = x_ND.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x_ND.dtype
        gate_EID, up_EID, down_EDI = (matrix.to(dtype) for matrix in matrices)
        return _Experts.apply(x_ND.to(dtype), weights_NA, routes, gate_EID, up_EID, down_EDI)


class MixtureOfExperts(nn.Module):
    """Routed experts plus the shared ones that every token passes."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate = Router(config)
        self.experts = Experts(config)
        self.shared_experts = SwiGLU(
            config.hidden_size, config.moe_intermediate_size * config.n_shared_experts
        )

    def forward(self, x_BTD: Tensor) -> Tensor:
        x_ND = x_BTD.flatten(0, 1)
        weights_NA, experts_NA = self.gate(x_ND)
        return (self.experts(x_ND, weights_NA, experts_NA) + self.shared_experts(x_ND)).view_as(x_BTD)


class Routes:
    """The pairs of token and expert, sorted by expert.

    pair_P: place of each pair in the flattened [N, A] table; token_P: its token; place_NA: pair_P's inverse.
    slices: each expert's rows; wide: the same, and so many rows of the next experts that few lengths occur. The rows that
    the last ones need beyond the end bear token 0: `past` of them.
    """

    def __init__(self, experts_NA: Tensor, experts: int) -> None:
        flat = experts_NA.flatten()
        self.pair_P = flat.argsort(stable=True)
        self.place_NA = torch.empty_like(flat).scatter_(
            0, self.pair_P, torch.arange(len(flat), device=flat.device)
        )
        self.place_NA = self.place_NA.view_as(experts_NA)
        self.counts_E = flat.bincount(minlength=experts)
        ends = self.counts_E.cumsum(0).tolist()
        self.slices = [slice(start, stop) for start, stop in zip([0, *ends[:-1]], ends, strict=True)]
        self.wide = [slice(s.start, s.start + round_up(s.stop - s.start)) for s in self.slices]
        self.past = max(0, max(s.stop for s in self.wide) - len(flat))
        token_P = self.pair_P.div(experts_NA.shape[1], rounding_mode="floor")
        self.token_P = F.pad(token_P, (0, self.past))


def round_up(count: int) -> int:
    """The next of 8 to 16 lengths between two powers of two, from 16 on; 0 stays.

    oneDNN compiles a product for each shape that it meets, at 0.6 ms or more, and the number of an expert's tokens is
    another every time: without this a step of the nano preset spends a quarter of its time compiling.
    """
    step = max(16, 1 << max(0, count.bit_length() - 5))
    return -(-count // step) * step


class _Experts(torch.autograd.Function):
    """Gather; one product per expert and matrix over contiguous rows; sum per token.

    The router's weight is applied to the hidden layer, which is narrower than the output. No
    scatter anywhere: sums over a token's experts go through `place_NA` as an embedding bag. A product runs over the
    `wide` rows: what it writes into the next expert's rows that one's own product overwrites.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x_ND: Tensor,
        weights_NA: Tensor,
        routes: Routes,
        gate_EID: Tensor,
        up_EID: Tensor,
        down_EDI: Tensor,
    ) -> Tensor:
        x_PD = x_ND.index_select(0, routes.token_P)
        weights_P1 = weights_NA.flatten().index_select(0, routes.pair_P).to(x_ND.dtype)
        weights_P1 = F.pad(weights_P1, (0, routes.past))[:, None]
        gate_PI = x_PD.new_empty(len(x_PD), gate_EID.shape[1])
        up_PI = torch.empty_like(gate_PI)
        y_PD = torch.empty_like(x_PD)
        for e, rows in enumerate(routes.wide):
            gate = torch.mm(x_PD[rows], gate_EID[e].t(), out=gate_PI[rows])
            up = torch.mm(x_PD[rows], up_EID[e].t(), out=up_PI[rows])
            torch.mm(F.silu(gate).mul_(up).mul_(weights_P1[rows]), down_EDI[e].t(), out=y_PD[rows])
        ctx.save_for_backward(x_PD, gate_PI, up_PI, weights_P1, gate_EID, up_EID, down_EDI)
        ctx.routes, ctx.weights_dtype = routes, weights_NA.dtype
        return _sum_per_token(y_PD, routes)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_ND: Tensor) -> tuple[Tensor, Tensor, None, Tensor, Tensor, Tensor]:
        x_PD, gate_PI, up_PI, weights_P1, gate_EID, up_EID, down_EDI = ctx.saved_tensors
        routes: Routes = ctx.routes
        grad_PD = grad_ND.index_select(0, routes.token_P)
        grad_x_PD = torch.empty_like(x_PD)
        grad_weights_P = x_PD.new_empty(len(x_PD))
        grad_gate_EID, grad_up_EID, grad_down_EDI = (
            torch.empty_like(m) for m in (gate_EID, up_EID, down_EDI)
        )
        for e, (own, rows) in enumerate(zip(routes.slices, routes.wide, strict=True)):
            gate, up, weight = gate_PI[rows], up_PI[rows], weights_P1[rows]
            others = slice(own.stop - own.start, None)  # they must add nothing to this expert's gradients
            grad_hidden = grad_PD[rows] @ down_EDI[e]
            grad_hidden[others] = 0.0
            silu = F.silu(gate)
            hidden = silu * up
            torch.sum(grad_hidden * hidden, dim=-1, out=grad_weights_P[rows])
            hidden.mul_(weight)[others] = 0.0
            torch.mm(grad_PD[rows].t(), hidden, out=grad_down_EDI[e])
            grad_hidden.mul_(weight)
            grad_up = silu.mul_(grad_hidden)
            grad_gate = torch.ops.aten.silu_backward(grad_hidden.mul_(up), gate)
            torch.mm(grad_gate.t(), x_PD[rows], out=grad_gate_EID[e])
            torch.mm(grad_up.t(), x_PD[rows], out=grad_up_EID[e])
            torch.mm(grad_gate, gate_EID[e], out=grad_x_PD[rows]).addmm_(grad_up, up_EID[e])
        grad_weights_NA = grad_weights_P.to(ctx.weights_dtype)[routes.place_NA]
        grad_x_ND = _sum_per_token(grad_x_PD, routes)
        return grad_x_ND, grad_weights_NA, None, grad_gate_EID, grad_up_EID, grad_down_EDI


def _sum_per_token(y_PD: Tensor, routes: Routes) -> Tensor:
    return F.embedding_bag(routes.place_NA, y_PD, mode="sum")


def experts_reference(x_ND: Tensor, weights_NA: Tensor, experts_NA: Tensor, experts: Experts) -> Tensor:
    """The plain twin: every token passes its experts by itself."""
    rows = []
    for x_D, weights_A, experts_A in zip(x_ND, weights_NA, experts_NA, strict=True):
        row = torch.zeros_like(x_D)
        for weight, e in zip(weights_A, experts_A.tolist(), strict=True):
            hidden_I = F.silu(experts.gate_proj[e] @ x_D) * (experts.up_proj[e] @ x_D)
            row = row + weight * (experts.down_proj[e] @ hidden_I)
        rows.append(row)
    return torch.stack(rows)


def sequence_balance(scores_NE: Tensor, experts_NA: Tensor, valid_BT: Tensor) -> Tensor:
    """DeepSeek-V3's sequence-wise balance loss (arXiv 2412.19437, eq. 17 to 20) without its factor alpha, mean over sequences.

    1 where a sequence's tokens and scores are spread evenly, E / A where all go to the same experts. Padding does not count.
    """
    E, A = scores_NE.shape[1], experts_NA.shape[1]
    length_B1 = valid_BT.sum(1, keepdim=True)
    valid_BT1 = valid_BT[..., None].to(scores_NE.dtype)
    chosen_BTE = torch.zeros_like(scores_NE).scatter_(1, experts_NA, 1.0).view(*valid_BT.shape, E)
    f_BE = (chosen_BTE * valid_BT1).sum(1) * E / (A * length_B1)
    share_BTE = (scores_NE / scores_NE.sum(-1, keepdim=True)).view(*valid_BT.shape, E)
    P_BE = (share_BTE * valid_BT1).sum(1) / length_B1
    return (f_BE * P_BE).sum(-1).mean()


@torch.no_grad()
def update_router_bias(model: nn.Module, rate: float) -> None:
    """After each optimizer step: raise by `rate` the bias of experts with too few tokens, lower the others'.

    The auxiliary-loss-free balancing of arXiv 2408.15664; loads are summed over ranks, then reset.
    """
    routers = [module for module in model.modules() if isinstance(module, Router)]
    if not routers:
        return
    load_LE = torch.stack([router.load_E for router in routers])
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(load_LE)
    step_LE = rate * (load_LE.mean(-1, keepdim=True) - load_LE).sign()
    for router, step_E in zip(routers, step_LE, strict=True):
        router.e_score_correction_bias += step_E
        router.load_E.zero_()
