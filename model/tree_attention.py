"""Attention over a trunk and its branches on a CPU: each query meets the keys that it sees and few others.

A sequence of T = P + M tokens is a trunk of P tokens and N branches of M tokens together, L the longest. A dense mask costs
T * T products a head; here the trunk costs P * P, the branches M * P with the trunk and N * L * L among themselves: a third
where P is 150 to 250 and a branch 45 of 768. The largest logits fall off on the way.
Suffixes beside `attention.py`'s: S = P + L, the keys that a branch's query sees at most.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

PADDING = torch.iinfo(torch.int16).min
"""In branch_BT, at a sequence's end: tokens that nobody sees and that see nobody."""


class Tree(NamedTuple):
    """Where one sequence's trunk and branches are.

    end: the tokens of both together, less padding.
    pad_X: for each place of the N * L padded ones the index of its token in the branches, any for padding;
    flat_M: for each token of the branches its place among the padded ones; own_MS: which of its own branch's L keys
    a token does not see, after the P of the trunk.
    """

    trunk: int
    end: int
    branches: int
    longest: int
    pad_X: Tensor
    flat_M: Tensor
    hidden_MS: Tensor


def trees(branch_BT: Tensor) -> list[Tree]:
    """The tree of each sequence; see `Transformer.forward` for branch_BT."""
    found = []
    for padded in branch_BT.tolist():
        row = [number for number in padded if number != PADDING]
        trunk = next((i for i, number in enumerate(row) if number != 0), len(row))
        starts = [i for i in range(trunk, len(row)) if i == trunk or row[i] != row[i - 1]]
        ends = [*starts[1:], len(row)] if starts else []
        lengths = [end - start for start, end in zip(starts, ends, strict=True)]
        longest = max(lengths, default=0)
        offsets_L = torch.arange(longest)
        lengths_N = torch.tensor(lengths, dtype=torch.long)
        starts_N = torch.tensor(starts, dtype=torch.long) - trunk
        real_NL = offsets_L < lengths_N[:, None]
        pad_X = (starts_N[:, None] + offsets_L.minimum(lengths_N[:, None] - 1)).flatten()
        flat_M = real_NL.flatten().nonzero().squeeze(1)
        at_M = flat_M % max(longest, 1)
        hidden_MS = torch.zeros(len(flat_M), trunk + longest, dtype=torch.bool)
        hidden_MS[:, trunk:] = offsets_L > at_M[:, None]
        alone_M = torch.tensor(row[trunk:], dtype=torch.long) < 0
        hidden_MS[alone_M, :trunk] = True
        found.append(Tree(trunk, len(row), len(lengths), longest, pad_X, flat_M, hidden_MS))
    return found


def tree_attention(q_BHTK: Tensor, k_BHTK: Tensor, v_BHTV: Tensor, rows: list[Tree]) -> tuple[Tensor, Tensor]:
    """[B, H, T, V], as `scaled_dot_product_attention` with `transformer.branch_bias` and scale 1; and the largest logit of each
    sequence and query, float32 [B, H, T], without a gradient.
    """
    return _TreeAttention.apply(q_BHTK, k_BHTK, v_BHTV, rows)


class _TreeAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q_BHTK: Tensor, k_BHTK: Tensor, v_BHTV: Tensor, rows: list[Tree]
    ) -> tuple[Tensor, Tensor]:
        o_BHTV = torch.zeros_like(v_BHTV)
        largest_BHT = q_BHTK.new_full(q_BHTK.shape[:3], -torch.inf, dtype=torch.float32)
        probabilities: list[Tensor] = []
        for b, tree in enumerate(rows):
            P, T = tree.trunk, tree.end
            q_HTK, k_HTK, v_HTV = q_BHTK[b, :, :T], k_BHTK[b, :, :T], v_BHTV[b, :, :T]
            if P:
                future = torch.ones(P, P, dtype=torch.bool, device=q_HTK.device).triu(1)
                s_HPP = (q_HTK[:, :P] @ k_HTK[:, :P].mT).float().masked_fill_(future, -torch.inf)
                largest_BHT[b, :, :P] = s_HPP.amax(-1)
                p_HPP = s_HPP.softmax(-1).to(v_HTV.dtype)
                o_BHTV[b, :, :P] = p_HPP @ v_HTV[:, :P]
                probabilities.append(p_HPP)
            if tree.branches:
                q_HMK = q_HTK[:, P:]
                own_HNLL = _padded(q_HMK, tree) @ _padded(k_HTK[:, P:], tree).mT
                s_HMS = torch.cat([q_HMK @ k_HTK[:, :P].mT, _flat(own_HNLL, tree)], dim=-1).float()
                s_HMS.masked_fill_(tree.hidden_MS, -torch.inf)
                largest_BHT[b, :, P:T] = s_HMS.amax(-1)
                p_HMS = s_HMS.softmax(-1).to(v_HTV.dtype)
                o_HMV = _flat(_spread(p_HMS[..., P:], tree) @ _padded(v_HTV[:, P:], tree), tree)
                o_BHTV[b, :, P:T] = o_HMV.baddbmm_(p_HMS[..., :P], v_HTV[:, :P])
                probabilities.append(p_HMS)
        ctx.save_for_backward(q_BHTK, k_BHTK, v_BHTV, *probabilities)
        ctx.rows = rows
        ctx.mark_non_differentiable(largest_BHT)
        return o_BHTV, largest_BHT

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_o_BHTV: Tensor, _: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        q_BHTK, k_BHTK, v_BHTV, *saved = ctx.saved_tensors
        probabilities = iter(saved)
        grad_q, grad_k, grad_v = map(torch.zeros_like, (q_BHTK, k_BHTK, v_BHTV))
        for b, tree in enumerate(ctx.rows):
            P, T = tree.trunk, tree.end
            q_HTK, k_HTK, v_HTV, go_HTV = (x[b, :, :T] for x in (q_BHTK, k_BHTK, v_BHTV, grad_o_BHTV))
            trunk_k = trunk_v = None
            if P:
                p_HPP = next(probabilities)
                ds_HPP = _softmax_backward(go_HTV[:, :P] @ v_HTV[:, :P].mT, p_HPP)
                grad_q[b, :, :P] = ds_HPP @ k_HTK[:, :P]
                trunk_k = ds_HPP.mT @ q_HTK[:, :P]
                trunk_v = p_HPP.mT @ go_HTV[:, :P]
            if tree.branches:
                p_HMS = next(probabilities)
                q_HMK, go_HMV = q_HTK[:, P:], go_HTV[:, P:]
                go_HNLV, p_HNLL = _padded(go_HMV, tree), _spread(p_HMS[..., P:], tree)
                own_HML = _flat(go_HNLV @ _padded(v_HTV[:, P:], tree).mT, tree)
                dp_HMS = torch.cat([go_HMV @ v_HTV[:, :P].mT, own_HML], dim=-1)
                ds_HMS = _softmax_backward(dp_HMS, p_HMS)
                ds_HNLL = _spread(ds_HMS[..., P:], tree)
                own_q = _flat(ds_HNLL @ _padded(k_HTK[:, P:], tree), tree)
                grad_q[b, :, P:T] = own_q.baddbmm_(ds_HMS[..., :P], k_HTK[:, :P])
                grad_k[b, :, P:T] = _flat(ds_HNLL.mT @ _padded(q_HMK, tree), tree)
                grad_v[b, :, P:T] = _flat(p_HNLL.mT @ go_HNLV, tree)
                if trunk_k is not None and trunk_v is not None:
                    trunk_k = trunk_k.baddbmm_(ds_HMS[..., :P].mT, q_HMK)
                    trunk_v = trunk_v.baddbmm_(p_HMS[..., :P].mT, go_HMV)
            if trunk_k is not None and trunk_v is not None:
                grad_k[b, :, :P], grad_v[b, :, :P] = trunk_k, trunk_v
        return grad_q, grad_k, grad_v, None


def _softmax_backward(dp: Tensor, p: Tensor) -> Tensor:
    """Gradient of the logits, given that of the probabilities."""
    return torch.ops.aten._softmax_backward_data(dp, p, -1, dp.dtype)


def _padded(x_HMx: Tensor, tree: Tree) -> Tensor:
    """[H, M, x] to [H, N, L, x]; padding repeats a token."""
    return x_HMx.index_select(1, tree.pad_X).unflatten(1, (tree.branches, tree.longest))


def _flat(x_HNLx: Tensor, tree: Tree) -> Tensor:
    """[H, N, L, x] to [H, M, x]."""
    return x_HNLx.flatten(1, 2).index_select(1, tree.flat_M)


def _spread(x_HML: Tensor, tree: Tree) -> Tensor:
    """[H, M, L] to [H, N, L, L], zero where there is no query."""
    places = tree.branches * tree.longest
    spread_HXL = x_HML.new_zeros(x_HML.shape[0], places, x_HML.shape[2])
    return spread_HXL.index_copy_(1, tree.flat_M, x_HML).unflatten(1, (tree.branches, tree.longest))
