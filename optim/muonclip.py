"""MuonClip: Muon for matrices, AdamW for the rest, QK-clip for attention, in one PyTorch optimizer.

For a matrix W of shape n x m (Kimi K2, arXiv 2507.20534, Algorithm 1; Moonlight, arXiv 2502.16982, equation
4)::

    M <- mu M + G
    O <- NewtonSchulz(M) * 0.2 sqrt(max(n, m))      the root mean square of an AdamW update, hence its lr
    W <- W - lr (O + lambda W)

The momentum is kept as (1 - mu) M, as `torch.optim.Muon` keeps it: Newton-Schulz does not see the scale.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim.adamw import adamw  # type: ignore[attr-defined]
from torch.optim.optimizer import ParamsT

from optim.errors import OptimError
from optim.newton_schulz import STEPS, agreed_dtype, newton_schulz
from optim.qkclip import NOTHING_SEEN, ClippableAttention, ClipStats, clip_attentions

RMS_OF_ADAMW = 0.2


class MuonClip(torch.optim.Optimizer):
    """Muon with decoupled weight decay and QK-clip; every parameter group says `use_muon` True or False.

    Groups with `use_muon=True` hold matrices `[n, m]` or stacks of them `[E, n, m]` (the experts of a layer:
    each slice is one matrix to Newton-Schulz); the others get AdamW. `optim.split_parameters(model)` makes
    both. Options, all settable per group:

    lr              shared by Muon and AdamW, whose updates have the same root mean square
    weight_decay    decoupled: W shrinks by lr * weight_decay a step
    momentum        Muon's mu; `nesterov` looks a step ahead: `torch.optim.Muon` does by default, K2 does not
    ns_steps        Newton-Schulz steps
    betas, eps      AdamW's

    `attentions` are the modules whose heads are clipped after each step where a logit exceeded `tau`; the
    optimizer switches their recording on. `last_clip` tells what the last step saw. With `ns_dtype` None,
    Newton-Schulz computes in whichever dtype is fast on the parameters' device: the first step chooses, the
    same on every rank, and writes the choice into the group, so that a checkpoint's is kept.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 2e-4,
        *,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = False,
        ns_steps: int = STEPS,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        attentions: Iterable[ClippableAttention] = (),
        tau: float = 100.0,
        ns_dtype: torch.dtype | None = None,
    ) -> None:
        for name, value, allowed in (
            ("lr", lr, lr >= 0),
            ("weight_decay", weight_decay, weight_decay >= 0),
            ("momentum", momentum, 0 <= momentum < 1),
            ("ns_steps", ns_steps, ns_steps >= 1),
            ("betas", betas, all(0 <= beta < 1 for beta in betas)),
            ("tau", tau, tau > 0),
        ):
            if not allowed:
                raise OptimError(f"{name}={value} is out of range for MuonClip")
        self.attentions = list(attentions)
        self.tau = tau
        self.last_clip: ClipStats = NOTHING_SEEN
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_steps": ns_steps,
            "betas": betas,
            "eps": eps,
            "ns_dtype": ns_dtype and _dtype_name(ns_dtype),
        }
        super().__init__(params, defaults)
        for attention in self.attentions:
            attention.track_max_logits = True

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; as in PyTorch, plus the check that its parameters suit `use_muon`."""
        if not isinstance(param_group.get("use_muon"), bool):
            raise OptimError(
                "a parameter group of MuonClip does not say use_muon=True or False; "
                "optim.split_parameters(model) makes the groups of a model"
            )
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        wrong = [tuple(p.shape) for p in group["params"] if group["use_muon"] and p.ndim not in (2, 3)]
        if wrong:
            self.param_groups.pop()
            raise OptimError(
                f"Muon takes matrices [n, m] and stacks of them [E, n, m], found the shapes {wrong}; "
                "put these parameters into a group with use_muon=False"
            )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("ns_dtype", None)

    @overload  # type: ignore[override]
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step over all parameters with a gradient, then QK-clip; returns the closure's loss, if any."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if any(p.grad.is_sparse for p in params):
                raise OptimError("MuonClip found a sparse gradient; make the embedding with sparse=False")
            if params and group["use_muon"]:
                self._muon(group, params)
            elif params:
                self._adamw(group, params)
        if self.attentions:
            self.last_clip = clip_attentions(self.attentions, self.tau)
        return loss

    def _muon(self, group: dict[str, Any], params: list[Tensor]) -> None:
        grads = _gradients(params)
        momenta = []
        for p in params:
            state = self.state[p]
            if not state:
                state["momentum_buffer"] = torch.zeros_like(p)
            momenta.append(state["momentum_buffer"])
        if group["ns_dtype"] is None:
            group["ns_dtype"] = _dtype_name(agreed_dtype(params[0].device))
        mu = group["momentum"]
        torch._foreach_lerp_(momenta, grads, 1 - mu)
        directions = torch._foreach_lerp(grads, momenta, mu) if group["nesterov"] else momenta
        torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
        for indices in _by_shape(params):
            self._orthogonal_step(group, [params[i] for i in indices], [directions[i] for i in indices])

    def _orthogonal_step(self, group: dict[str, Any], params: list[Tensor], directions: list[Tensor]) -> None:
        """Subtract the orthogonalised directions of parameters that share the shape of their matrices."""
        n, m = params[0].shape[-2:]
        matrices = [direction.reshape(-1, n, m) for direction in directions]
        joined = matrices[0] if len(matrices) == 1 else torch.cat(matrices)
        updates = newton_schulz(joined, group["ns_steps"], getattr(torch, group["ns_dtype"])).split(
            [len(part) for part in matrices]
        )
        shaped = [update.view(p.shape).to(p.dtype) for update, p in zip(updates, params, strict=True)]
        torch._foreach_add_(params, shaped, alpha=-group["lr"] * RMS_OF_ADAMW * math.sqrt(max(n, m)))

    def _adamw(self, group: dict[str, Any], params: list[Tensor]) -> None:
        for p in params:
            state = self.state[p]
            if not state:
                state["step"] = torch.zeros((), dtype=torch.float32)
                state["exp_avg"] = torch.zeros_like(p)
                state["exp_avg_sq"] = torch.zeros_like(p)
        beta1, beta2 = group["betas"]
        adamw(
            params,
            _gradients(params),
            [self.state[p]["exp_avg"] for p in params],
            [self.state[p]["exp_avg_sq"] for p in params],
            [],
            [self.state[p]["step"] for p in params],
            foreach=True,
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )


def _gradients(params: list[Tensor]) -> list[Tensor]:
    return [p.grad for p in params if p.grad is not None]


def _dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _by_shape(params: list[Tensor]) -> list[list[int]]:
    """Indices of parameters whose matrices can go through Newton-Schulz as one batch."""
    batches: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for i, p in enumerate(params):
        batches[(*p.shape[-2:], p.dtype, p.device)].append(i)
    return list(batches.values())
