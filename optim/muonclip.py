"""MuonClip: Muon for matrices, AdamW for the rest, QK-clip for attention, in one PyTorch optimizer.

For a matrix W of shape n x m (Kimi K2, arXiv 2507.20534, Algorithm 1; Moonlight, arXiv 2502.16982, equation
4)::

    M <- mu M + G
    O <- NewtonSchulz(M) * 0.2 sqrt(max(n, m))      the root mean square of an AdamW update, hence its lr
    W <- W - lr (O + lambda W)

The momentum is kept as (1 - mu) M, as `torch.optim.Muon` keeps it: Newton-Schulz does not see the scale.
"""

from __future__ import annotations

import difflib
import logging
import math
from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim.adamw import adamw  # type: ignore[attr-defined]
from torch.optim.optimizer import ParamsT

from optim.errors import OptimError
from optim.fast_dtype import agreed_dtype
from optim.muon_update import Settings, Stack, muon_update_, orthogonalise_all
from optim.newton_schulz import METHODS, STEPS, Method
from optim.qkclip import NOTHING_SEEN, ClippableAttention, ClipStats, clip_attentions, forget
from optim.sharding import GatherWhole, MatrixSharding, any_rank, has_whole_matrices, local
from optim.workspace import Workspace

_log = logging.getLogger(__name__)
_OF_OTHERS = {
    "params",
    "param_names",
    "use_muon",
    "name",
    "initial_lr",
    "max_lr",
    "min_lr",
}  # not options of ours


class MuonClip(torch.optim.Optimizer):
    """Muon with decoupled weight decay and QK-clip; every parameter group says `use_muon` True or False.

    Groups with `use_muon=True` hold matrices `[n, m]` or stacks of them `[E, n, m]` (the experts of a layer:
    each slice is one matrix to Newton-Schulz); the others get AdamW. `optim.split_parameters(model)` makes
    both. Options, all settable per group:

    lr              shared by Muon and AdamW, whose updates have the same root mean square
    weight_decay    decoupled: W shrinks by lr * weight_decay a step
    momentum        Muon's mu; `nesterov` looks a step ahead: `torch.optim.Muon` does by default, K2 does not
    ns_method       how the momentum is orthogonalised, see `optim.newton_schulz`
    ns_steps        of the methods that have steps: Newton-Schulz's
    ns_dtype        dtype of its products, None for whichever is fast on the parameters' device: the first step
                    chooses, the same on every rank, and the group keeps the choice, so that a checkpoint does
    betas, eps      AdamW's

    `attentions` are the modules whose heads are clipped after each step where a logit exceeded `tau`; the
    optimizer switches their recording on. `last_clip` tells what the last step saw.

    A step whose gradients are not all finite changes nothing, on any rank, and is counted in `skipped_steps`.
    Parameters may be DTensors: `sharding` moves the parts of matrices that lie on several ranks (`optim.sharding`).
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 2e-4,
        *,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = False,
        ns_method: Method = "three_pass",
        ns_steps: int = STEPS,
        ns_dtype: torch.dtype | None = None,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        attentions: Iterable[ClippableAttention] = (),
        tau: float = 100.0,
        sharding: MatrixSharding | None = None,
    ) -> None:
        if not tau > 0:
            raise OptimError(f"tau={tau} is out of range for MuonClip")
        self.attentions = list(attentions)
        self.tau = tau
        self.sharding: MatrixSharding = sharding or GatherWhole()
        self.last_clip: ClipStats = NOTHING_SEEN
        self.skipped_steps = 0
        self._space = Workspace()
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_method": ns_method,
            "ns_steps": ns_steps,
            "ns_dtype": _dtype_name(ns_dtype),
            "betas": betas,
            "eps": eps,
        }
        _check_options(defaults)
        super().__init__(params, defaults)
        for attention in self.attentions:
            attention.track_max_logits = True

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; as in PyTorch, plus the check that its keys and parameters are ones that MuonClip can use."""
        unknown = param_group.keys() - self.defaults.keys() - _OF_OTHERS
        if unknown:
            raise OptimError(_unknown_keys(unknown, sorted(self.defaults.keys() | {"params", "use_muon"})))
        if not isinstance(param_group.get("use_muon"), bool):
            raise OptimError(
                "a parameter group of MuonClip does not say use_muon=True or False; "
                "optim.split_parameters(model) makes the groups of a model"
            )
        if isinstance(param_group.get("ns_dtype"), torch.dtype):
            param_group = {**param_group, "ns_dtype": _dtype_name(param_group["ns_dtype"])}
        _check_options({**self.defaults, **param_group})
        super().add_param_group(param_group)
        try:
            for parameter in self.param_groups[-1]["params"]:
                _check_parameter(parameter, param_group["use_muon"])
        except OptimError:
            self.param_groups.pop()
            raise

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As in PyTorch; `OptimError` if the state is of other parameters, before anything is changed."""
        saved, own = state_dict["param_groups"], self.param_groups
        sizes = [[len(group["params"]) for group in groups] for groups in (saved, own)]
        if sizes[0] != sizes[1]:
            raise OptimError(
                f"the state has parameter groups of {sizes[0]} tensors, this optimizer of {sizes[1]}; "
                "build it over the same model and split, or start without this state"
            )
        for old, group in zip(saved, own, strict=True):
            if old.get("use_muon") != group["use_muon"]:
                raise OptimError(
                    "the state has a group with use_muon the other way round; make the same split"
                )
            for index, parameter in zip(old["params"], group["params"], strict=True):
                for key, value in state_dict["state"].get(index, {}).items():
                    if key != "step" and isinstance(value, Tensor) and value.shape != parameter.shape:
                        raise OptimError(
                            f"the state's {key} of parameter {index} has the shape {tuple(value.shape)}, the parameter "
                            f"{tuple(parameter.shape)}; this is another model's state"
                        )
        super().load_state_dict(state_dict)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:  # of checkpoints from before there was a choice
            group.setdefault("ns_dtype", None)
            group.setdefault("ns_method", "quintic")

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
        if self._finite():
            for group in self.param_groups:
                params = [p for p in group["params"] if p.grad is not None]
                if params and group["use_muon"]:
                    self._muon(group, params)
                elif params:
                    self._adamw(group, params)
            if self.attentions:
                self.last_clip = clip_attentions(self.attentions, self.tau)
        else:
            forget(self.attentions)
            self.last_clip = NOTHING_SEEN
            self.skipped_steps += 1
            if self.skipped_steps == 1:
                _log.warning(
                    "MuonClip skipped a step: a gradient holds NaN or infinity (or its norm overflows). "
                    "No weight and no state changed; further ones are only counted, in skipped_steps"
                )
        return loss

    def _finite(self) -> bool:
        """Whether all gradients on all ranks are; one pass of reading, whose norms tell of NaN and infinity alike."""
        by_kind: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
        device = torch.device("cpu")
        for group in self.param_groups:
            for p in group["params"]:
                device = p.device
                if p.grad is None:
                    continue
                if p.grad.layout != torch.strided:
                    raise OptimError("MuonClip found a sparse gradient; make the embedding with sparse=False")
                gradient = local(p.grad)
                by_kind.setdefault((gradient.dtype, gradient.device), []).append(gradient)
        found = [torch.stack(torch._foreach_norm(some)).sum() for some in by_kind.values()]
        finite = all(bool(norm.isfinite()) for norm in found)
        return not any_rank(not finite, device)

    def _muon(self, group: dict[str, Any], params: list[Tensor]) -> None:
        if group["ns_dtype"] is None:
            group["ns_dtype"] = _dtype_name(agreed_dtype(params[0].device))
        settings = Settings(
            float(group["lr"]),
            group["weight_decay"],
            group["momentum"],
            group["nesterov"],
            group["ns_method"],
            group["ns_steps"],
            getattr(torch, group["ns_dtype"]),
        )
        stacks, parted = [], []
        for p in params:
            state = self.state[p]
            if not state:
                state["momentum_buffer"] = torch.zeros_like(p)
            if has_whole_matrices(p):
                stacks.append(Stack.of(local(p), local(p.grad, p), local(state["momentum_buffer"])))  # type: ignore[arg-type]
            else:
                parted.append(p)
        muon_update_((stack for stack in stacks if stack.weights.numel()), settings, self._space)
        if parted:
            self._muon_parted(settings, parted)

    def _muon_parted(self, settings: Settings, params: list[Tensor]) -> None:
        """The same for matrices whose parts lie on several ranks."""
        directions = []
        for p in params:
            assert isinstance(p, DTensor)
            momentum, gradient = local(self.state[p]["momentum_buffer"]), local(p.grad, p)  # type: ignore[arg-type]
            momentum.lerp_(gradient.to(momentum.dtype), 1 - settings.momentum)
            ahead = gradient.lerp(momentum, settings.momentum) if settings.nesterov else momentum
            directions.append(
                DTensor.from_local(
                    ahead, p.device_mesh, p.placements, run_check=False, shape=p.shape, stride=p.stride()
                )
            )
        updates = self.sharding.orthogonalise(
            directions, lambda matrices: orthogonalise_all(matrices, settings, self._space)
        )
        for p, update in zip(params, updates, strict=True):
            weight = local(p)
            weight.mul_(1 - settings.lr * settings.weight_decay)
            weight.add_(update.to(weight.dtype), alpha=settings.update_scale(*p.shape[-2:]))

    def _adamw(self, group: dict[str, Any], params: list[Tensor]) -> None:
        for p in params:
            state = self.state[p]
            if not state:
                state["step"] = torch.zeros((), dtype=torch.float32)
                state["exp_avg"] = torch.zeros_like(p)
                state["exp_avg_sq"] = torch.zeros_like(p)
        beta1, beta2 = group["betas"]
        adamw(
            [local(p) for p in params],
            [local(p.grad, p) for p in params],  # type: ignore[arg-type]
            [local(self.state[p]["exp_avg"]) for p in params],
            [local(self.state[p]["exp_avg_sq"]) for p in params],
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


def _check_options(options: dict[str, Any]) -> None:
    for name, allowed in (
        ("lr", options["lr"] >= 0),
        ("weight_decay", options["weight_decay"] >= 0),
        ("momentum", 0 <= options["momentum"] < 1),
        ("ns_steps", options["ns_steps"] >= 1),
        ("ns_method", options["ns_method"] in METHODS),
        ("betas", all(0 <= beta < 1 for beta in options["betas"])),
    ):
        if not allowed:
            hint = f"; there are {', '.join(METHODS)}" if name == "ns_method" else ""
            raise OptimError(f"{name}={options[name]} is out of range for MuonClip{hint}")


def _check_parameter(parameter: Tensor, use_muon: bool) -> None:
    shape = tuple(parameter.shape)
    if parameter.is_complex():
        raise OptimError(
            f"MuonClip found a complex parameter of shape {shape}; keep its real and imaginary parts as two real ones"
        )
    if parameter.layout != torch.strided:
        raise OptimError(f"MuonClip found a sparse parameter of shape {shape}; make it dense")
    if math.prod(shape) == 0:
        raise OptimError(f"MuonClip found an empty parameter, of shape {shape}; leave it out of the groups")
    if use_muon and parameter.ndim not in (2, 3):
        raise OptimError(
            f"Muon takes matrices [n, m] and stacks of them [E, n, m], found the shape {shape}; "
            "put this parameter into a group with use_muon=False"
        )


def _unknown_keys(unknown: set[str], known: list[str]) -> str:
    near = {key: difflib.get_close_matches(key, known, 1) for key in sorted(unknown)}
    said = ", ".join(
        f"{key!r} (is {match[0]!r} meant?)" if match else repr(key) for key, match in near.items()
    )
    return (
        f"a parameter group of MuonClip has keys that it does not know: {said}; it knows {', '.join(known)}"
    )


def _dtype_name(dtype: torch.dtype | None) -> str | None:
    return None if dtype is None else str(dtype).removeprefix("torch.")
