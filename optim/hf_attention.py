"""QK-clip for the attention of Hugging Face models: Llama, Mistral, Qwen2 and whatever else has `q_proj` and `k_proj` for rotary
heads and calls transformers' attention interface.

    attentions = clippable_attentions(model)
    MuonClip(split_parameters(model), attentions=attentions)
"""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor, nn

from optim.errors import OptimError
from optim.max_logits import attention_and_max_logits

IMPLEMENTATION = "suresql_max_logits"
_watchers: weakref.WeakKeyDictionary[nn.Module, ProjectedAttention] = weakref.WeakKeyDictionary()


class ProjectedAttention:
    """One attention module as a `ClippableAttention`.

    With as many key heads as query heads both projections of a head take the root of gamma. Where query heads share
    a key head the query's alone takes gamma: the key belongs to the others too.
    """

    def __init__(self, module: nn.Module, heads: int, key_heads: int) -> None:
        self._module = weakref.ref(module)
        self.heads, self.key_heads = heads, key_heads
        self.track_max_logits = False
        self.max_logits_H: Tensor | None = None

    def saw(self, largest_H: Tensor) -> None:
        """Raise the record."""
        self.max_logits_H = largest_H if self.max_logits_H is None else self.max_logits_H.maximum(largest_H)

    @torch.no_grad()
    def qk_clip_(self, gamma_H: Tensor) -> None:
        """See `ClippableAttention`."""
        module: Any = self._module()
        if self.heads == self.key_heads:
            _scale_heads_(module.q_proj, gamma_H.sqrt())
            _scale_heads_(module.k_proj, gamma_H.sqrt())
        else:
            _scale_heads_(module.q_proj, gamma_H)


def clippable_attentions(model: nn.Module) -> list[ProjectedAttention]:
    """All of a transformers model's attention modules, which from now on record their largest logits when asked to.

    Raises `OptimError` for a model without such modules, and for one that normalises queries or keys after the
    projections: their logits are bounded already, and no scaling of a projection changes them.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    modules = [
        module for module in model.modules() if hasattr(module, "q_proj") and hasattr(module, "k_proj")
    ]
    if not modules:
        raise OptimError(
            f"{type(model).__name__} has no attention with q_proj and k_proj; "
            "implement optim.ClippableAttention in its attention instead"
        )
    for module in modules:
        if hasattr(module, "q_norm") or hasattr(module, "k_norm"):
            raise OptimError(
                f"{type(module).__name__} normalises its queries or keys, which bounds its logits; "
                "QK-clip cannot change them and is not needed: leave attentions out"
            )
    AttentionInterface.register(IMPLEMENTATION, _attend)
    AttentionMaskInterface.register(IMPLEMENTATION, sdpa_mask)
    model.set_attn_implementation(IMPLEMENTATION)  # type: ignore[operator]
    found = []
    for module in modules:
        projected: Any = module
        heads = projected.q_proj.weight.shape[0] // projected.head_dim
        key_heads = projected.k_proj.weight.shape[0] // projected.head_dim
        _watchers[module] = ProjectedAttention(module, heads, key_heads)
        found.append(_watchers[module])
    return found


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    """An attention function of transformers' interface: SDPA, or FlexAttention on CUDA, and the record."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    watcher = _watchers.get(module)
    plain = not options.get("dropout") and "position_bias" not in options
    causal = getattr(module, "is_causal", True) and options.get("is_causal") is not False
    if watcher is None or not watcher.track_max_logits or not module.training:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    if not plain or not causal:
        raise OptimError(
            f"{type(module).__name__} attends with dropout, a position bias or to the future; "
            "QK-clip's record knows causal attention without these"
        )
    scale = options.get("scaling") or query.shape[-1] ** -0.5
    result_BHTV, largest_H = attention_and_max_logits(query, key, value, scale, attention_mask)
    watcher.saw(largest_H)
    return result_BHTV.transpose(1, 2).contiguous(), None


def _scale_heads_(projection: nn.Linear, factor_H: Tensor) -> None:
    for parameter in (projection.weight, projection.bias):
        if parameter is not None:
            by_head = parameter.unflatten(0, (len(factor_H), -1))
            by_head.mul_(factor_H.to(parameter).view(-1, *[1] * (by_head.ndim - 1)))
