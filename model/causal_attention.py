"""Causal attention on a CPU, a few heads at a time, so that their logits stay in the cache; the largest ones fall off.

PyTorch's own CPU kernel takes three times as long in bfloat16 (forward and backward, 256 tokens) and keeps the logits
to itself. This one keeps the probabilities for the backward pass: T * T / 2 numbers a head, hence LONGEST.
Suffixes beside `attention.py`'s: G = B * H heads of sequences, t = a block of T's queries, s = the keys up to its end.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

LONGEST = 2048
_QUERIES = 256  # a block's rows; fewer spare more of the upper triangle, but then the products are too small
_LOGITS = 1 << 19  # a megabyte of bfloat16: about a core's second-level cache


def causal_attention(
    q_BHTK: Tensor, k_BHTK: Tensor, v_BHTV: Tensor, track: bool = False
) -> tuple[Tensor, Tensor | None]:
    """[B, T, H, V] of queries already scaled; if `track`, also each query's largest logit [B, H, T], without gradient.

    Equals `scaled_dot_product_attention(q, k, v, is_causal=True, scale=1.0).transpose(1, 2)`.
    """
    o_BTHV, largest_BHT = _CausalAttention.apply(q_BHTK, k_BHTK, v_BHTV, track)
    return o_BTHV, largest_BHT if track else None


class _CausalAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q_BHTK: Tensor, k_BHTK: Tensor, v_BHTV: Tensor, track: bool
    ) -> tuple[Tensor, Tensor]:
        B, H, T, V = v_BHTV.shape
        q_GTK, k_GTK, v_GTV = (x.flatten(0, 1) for x in (q_BHTK, k_BHTK, v_BHTV))
        o_GTV = torch.empty_like(v_GTV)
        largest_GT = q_GTK.new_empty(B * H if track else 0, T)
        keep = any(ctx.needs_input_grad)
        probabilities: list[Tensor] = []
        for heads, rows in _blocks(B * H, T):
            p_Gts = _masked_logits(q_GTK[heads, rows], k_GTK[heads, : rows.stop], rows)
            if track:
                largest_GT[heads, rows] = p_Gts.amax(-1)
            torch.softmax(p_Gts, -1, out=p_Gts)
            torch.bmm(p_Gts, v_GTV[heads, : rows.stop], out=o_GTV[heads, rows])
            if keep:
                probabilities.append(p_Gts)
        ctx.save_for_backward(q_GTK, k_GTK, v_GTV, *probabilities)
        ctx.batch = B
        largest_BHT = largest_GT.view(-1, H, T)
        ctx.mark_non_differentiable(largest_BHT)
        return o_GTV.view(B, H, T, V).transpose(1, 2).contiguous(), largest_BHT

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_o_BTHV: Tensor, _: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        q_GTK, k_GTK, v_GTV, *probabilities = ctx.saved_tensors
        go_GTV = grad_o_BTHV.transpose(1, 2).contiguous().flatten(0, 1)
        grad_q, grad_k, grad_v = map(torch.empty_like, (q_GTK, k_GTK, v_GTV))
        blocks = _blocks(*v_GTV.shape[:2])
        for (heads, rows), p_Gts in zip(reversed(blocks), reversed(probabilities), strict=True):
            # The last block of rows comes first: its keys are all keys, so it fills what the others add to.
            seen, add = slice(0, rows.stop), 0.0 if rows.stop == v_GTV.shape[1] else 1.0
            dp_Gts = torch.bmm(go_GTV[heads, rows], v_GTV[heads, seen].mT)
            ds_Gts = torch.ops.aten._softmax_backward_data(dp_Gts, p_Gts, -1, dp_Gts.dtype)
            torch.bmm(ds_Gts, k_GTK[heads, seen], out=grad_q[heads, rows])
            grad_k[heads, seen].baddbmm_(ds_Gts.mT, q_GTK[heads, rows], beta=add)
            grad_v[heads, seen].baddbmm_(p_Gts.mT, go_GTV[heads, rows], beta=add)
        return *(x.unflatten(0, (ctx.batch, -1)) for x in (grad_q, grad_k, grad_v)), None


def _blocks(heads: int, length: int) -> list[tuple[slice, slice]]:
    """Which heads and which of their queries are taken together, in order."""
    some = max(1, _LOGITS // (length * min(length, _QUERIES)))
    return [
        (slice(g, min(g + some, heads)), slice(t, min(t + _QUERIES, length)))
        for g in range(0, heads, some)
        for t in range(0, length, _QUERIES)
    ]


def _masked_logits(q_GtK: Tensor, k_GsK: Tensor, rows: slice) -> Tensor:
    logits_Gts = torch.bmm(q_GtK, k_GsK.mT)
    count = rows.stop - rows.start
    future_tt = logits_Gts.new_full((count, count), -torch.inf).triu_(1)
    logits_Gts[..., rows.start :] += future_tt
    return logits_Gts
