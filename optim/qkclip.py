"""QK-clip: keep attention's logits from growing without bound (Kimi K2, arXiv 2507.20534, section 2.1).

After a step, each head whose largest logit S of that step's forward pass exceeded tau has its query and key
projections shrunk so that the same logit would have been tau: gamma = min(1, tau / S). How gamma is shared
between the projections is the attention's own affair (`qk_clip_`); this file decides which heads, and by how
much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from optim.sharding import local_part


@runtime_checkable
class ClippableAttention(Protocol):
    """An attention module that QK-clip can read and shrink."""

    track_max_logits: bool
    """When true, forward records `max_logits_H`."""

    max_logits_H: Tensor | None
    """`[H]`: running max over batch and positions of q . k * scale since the last reset; None before any."""

    def qk_clip_(self, gamma_H: Tensor) -> None:
        """Shrink head h's logits by `gamma_H[h]`, in place, without gradient."""


@dataclass(frozen=True)
class ClipStats:
    """What QK-clip saw and did at one step."""

    max_logit: float
    """The largest logit of any head; NaN if no attention recorded one."""
    clipped_heads: int
    heads: int


NOTHING_SEEN = ClipStats(float("nan"), 0, 0)


@torch.no_grad()
def clip_attentions(attentions: Sequence[ClippableAttention], tau: float) -> ClipStats:
    """Clip every head above `tau`, then forget the recorded logits.

    Under `torch.distributed` the maximum is taken over all ranks, so that the weights stay the same on each;
    every rank must then have recorded the same modules.
    """
    seen = [attention for attention in attentions if attention.max_logits_H is not None]
    if not seen:
        return NOTHING_SEEN
    logits = [attention.max_logits_H.detach().float() for attention in seen]  # type: ignore[union-attr]
    joined = torch.cat(logits)
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        dist.all_reduce(joined, op=dist.ReduceOp.MAX)
    gamma = (tau / joined.nan_to_num(nan=tau).clamp(min=tau)).split([len(part) for part in logits])
    over = joined > tau  # not a NaN
    clipped = int(over.sum())
    if clipped:
        for attention, gamma_H in zip(seen, gamma, strict=True):
            if bool((gamma_H < 1).any()):
                _clip(attention, gamma_H)
    forget(seen)
    return ClipStats(float(joined.max()), clipped, len(joined))


def forget(attentions: Sequence[ClippableAttention]) -> None:
    """Drop what the attentions recorded."""
    for attention in attentions:
        attention.max_logits_H = None


def _clip(attention: ClippableAttention, gamma_H: Tensor) -> None:
    """`qk_clip_` on whole weights: sharded ones are gathered for it, and each rank keeps its rows of the result.

    That costs a gathering of one attention's weights, at the few steps at which a head is clipped.
    """
    places: list[tuple[nn.Module, str, Any]] = [
        (module, name, parameter)
        for module in (attention.modules() if isinstance(attention, nn.Module) else ())
        for name, parameter in module._parameters.items()
        if isinstance(parameter, DTensor)
    ]
    wholes = [parameter.full_tensor() for _, _, parameter in places]
    for (module, name, _), whole in zip(places, wholes, strict=True):
        module._parameters[name] = nn.Parameter(whole, requires_grad=False)
    try:
        attention.qk_clip_(gamma_H)
    finally:
        for module, name, parameter in places:
            module._parameters[name] = parameter
    for (_, _, parameter), whole in zip(places, wholes, strict=True):
        parameter.to_local().copy_(local_part(whole, parameter))
