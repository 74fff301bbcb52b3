"""Attention that also tells its largest logit per head, which fused kernels keep to themselves.

On CUDA FlexAttention returns each row's maximum beside the result (`AuxRequest(max_scores=True)`, torch 2.13). Elsewhere it has
no backward pass, and a second pass over Q K^T, in blocks of rows and without gradient, finds the maximum.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_ROWS = 64  # of Q K^T that the second pass holds at a time


def attention_and_max_logits(
    q_BHTK: Tensor, k_BGSK: Tensor, v_BGSV: Tensor, scale: float, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Attention's result [B, H, T, V], and the largest logit q . k * scale of each head, float32 [H], over the pairs that see
    each other.

    G key heads serve H/G query heads each. `mask` as in `scaled_dot_product_attention`, None for causal. The
    result has a gradient, the logits have none.
    """
    if q_BHTK.is_cuda and mask is None and q_BHTK.shape[2] == k_BGSK.shape[2]:
        o_BHTV, rows_BHT = _flex(q_BHTK, k_BGSK, v_BGSV, scale)
        return o_BHTV, rows_BHT.detach().amax((0, 2)).float()
    causal = mask is None and q_BHTK.shape[2] > 1
    grouped = q_BHTK.shape[1] != k_BGSK.shape[1]
    o_BHTV = F.scaled_dot_product_attention(
        q_BHTK, k_BGSK, v_BGSV, mask, is_causal=causal, scale=scale, enable_gqa=grouped
    )
    return o_BHTV, max_logits(q_BHTK.detach(), k_BGSK.detach(), scale, mask)


def _flex(q_BHTK: Tensor, k_BGTK: Tensor, v_BGTV: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Causal FlexAttention and each row's largest logit [B, H, T]."""
    from torch.nn.attention.flex_attention import AuxRequest

    o_BHTV, extra = _compiled_flex()(
        q_BHTK,
        k_BGTK,
        v_BGTV,
        block_mask=causal_blocks(q_BHTK.shape[2], str(q_BHTK.device)),
        scale=scale,
        enable_gqa=q_BHTK.shape[1] != k_BGTK.shape[1],
        return_aux=AuxRequest(max_scores=True),
    )
    return o_BHTV, extra.max_scores


@torch.no_grad()
def max_logits(q_BHTK: Tensor, k_BGSK: Tensor, scale: float, mask: Tensor | None = None) -> Tensor:
    """The second pass by itself; see `attention_and_max_logits`."""
    batch, heads, length, _ = q_BHTK.shape
    groups, seen = k_BGSK.shape[1:3]
    q_BGhTK = q_BHTK.unflatten(1, (groups, heads // groups))
    largest_BGh = q_BHTK.new_full((batch, groups, heads // groups), -torch.inf)
    for start in range(0, length, _ROWS):
        stop = min(start + _ROWS, length)
        last = stop if mask is None and length > 1 else seen  # causal: the keys beyond are of no use
        rows_BGhtS = q_BGhTK[:, :, :, start:stop] @ k_BGSK[:, :, None, :last].transpose(-1, -2)
        if mask is None and length > 1:
            future = torch.ones(stop - start, stop - start, dtype=torch.bool, device=q_BHTK.device).triu(1)
            rows_BGhtS[..., start:].masked_fill_(future, -torch.inf)
        elif mask is not None:
            part = mask[..., start:stop, :seen]
            part = part.expand(batch, heads, -1, -1).unflatten(1, (groups, heads // groups))
            if part.dtype == torch.bool:
                rows_BGhtS.masked_fill_(~part, -torch.inf)
            else:
                rows_BGhtS += part / scale
        largest_BGh = largest_BGh.maximum(rows_BGhtS.amax((-1, -2)))
    return largest_BGh.amax(0).flatten().float() * scale


@cache
def _compiled_flex() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=False)


@cache
def causal_blocks(length: int, device: str) -> Any:
    """FlexAttention's mask for the causal order."""
    from torch.nn.attention.flex_attention import create_block_mask

    return create_block_mask(
        lambda _b, _h, query, key: query >= key, None, None, length, length, device=device
    )
