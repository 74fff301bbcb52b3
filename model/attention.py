"""Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, 2.1), which QK-clip can watch and scale.

Suffixes as in `transformer.py`, and here: N = qk_nope_head_dim, R = qk_rope_head_dim, K = N + R,
V = v_head_dim, L = kv_lora_rank, M = N + V.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from model.causal_attention import LONGEST, causal_attention
from model.config import ModelConfig
from model.rmsnorm import RMSNorm
from model.rotary import rotate, softmax_scale
from model.tree_attention import Tree, tree_attention

_QUERY_CHUNK = 64  # rows of QK^T that the max-logit pass holds at a time


class LatentAttention(nn.Module):
    """Causal MLA. Implements `optim.qkclip.ClippableAttention`.

    track_max_logits: while true, each forward raises max_logits_H to the largest scaled logit per head.
    max_logits_H: float32 [H], or None before the first forward; set it to None to start over.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads, self.nope, self.rope = (
            config.num_attention_heads,
            config.qk_nope_head_dim,
            config.qk_rope_head_dim,
        )
        self.value, self.latent = config.v_head_dim, config.kv_lora_rank
        self.scale = softmax_scale(config)
        self.q_rank = config.q_lora_rank
        query_size = self.heads * config.qk_head_dim
        if self.q_rank is None:
            self.q_proj = nn.Linear(config.hidden_size, query_size, bias=False)
        else:
            self.q_a_proj = nn.Linear(config.hidden_size, self.q_rank, bias=False)
            self.q_a_layernorm = RMSNorm(self.q_rank)  # eps 1e-6 whatever rms_norm_eps is, as in transformers
            self.q_b_proj = nn.Linear(self.q_rank, query_size, bias=False)
        self.kv_a_proj_with_mqa = nn.Linear(config.hidden_size, self.latent + self.rope, bias=False)
        self.kv_a_layernorm = RMSNorm(self.latent)
        self.kv_b_proj = nn.Linear(self.latent, self.heads * (self.nope + self.value), bias=False)
        self.o_proj = nn.Linear(self.heads * self.value, config.hidden_size, bias=False)
        self.track_max_logits = False
        self.max_logits_H: Tensor | None = None

    def forward(
        self,
        x_BTD: Tensor,
        rotary_TR: Tensor,
        valid_BT: Tensor | None = None,
        sees: Tensor | list[Tree] | None = None,
    ) -> Tensor:
        """[B, T, D] to [B, T, D]. Queries where valid_BT is false do not count in max_logits_H.

        `sees` says which keys a query sees: a bias [B, 1, T, T] of 0 and -inf, a tree for each sequence, or, if None,
        the causal order. rotary_TR may differ by sequence: [B, T, R/2].
        """
        q_BHTK, k_BHTK, v_BHTV = self._queries_keys_values(x_BTD, rotary_TR)
        track = self.track_max_logits
        if isinstance(sees, list):
            o_BHTV, largest_BHT = tree_attention(q_BHTK, k_BHTK, v_BHTV, sees)
            o_BTHV = o_BHTV.transpose(1, 2)
            if track:
                self._saw(_largest(largest_BHT, valid_BT))
        elif sees is None and x_BTD.device.type == "cpu" and x_BTD.shape[1] <= LONGEST:
            o_BTHV, seen_BHT = causal_attention(q_BHTK, k_BHTK, v_BHTV, track)
            if seen_BHT is not None:
                self._saw(_largest(seen_BHT, valid_BT).float())
        else:
            if track:
                self._saw(max_logits(q_BHTK.detach(), k_BHTK.detach(), 1.0, valid_BT, sees))
            o_BHTV = F.scaled_dot_product_attention(
                q_BHTK, k_BHTK, v_BHTV, sees, is_causal=sees is None, scale=1.0
            )
            o_BTHV = o_BHTV.transpose(1, 2)
        return self.o_proj(o_BTHV.flatten(2))

    def _saw(self, seen_H: Tensor) -> None:
        self.max_logits_H = seen_H if self.max_logits_H is None else self.max_logits_H.maximum(seen_H)

    def _queries_keys_values(self, x_BTD: Tensor, rotary_TR: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, H, T, K or V]; the queries bear the softmax's scale."""
        if self.q_rank is None:
            q_BTHK = self.q_proj(x_BTD)
        else:
            q_BTHK = self.q_b_proj(self.q_a_layernorm(self.q_a_proj(x_BTD)))
        latent_BTL, k_rope_BTR = self.kv_a_proj_with_mqa(x_BTD).split([self.latent, self.rope], dim=-1)
        kv_BTHM = self.kv_b_proj(self.kv_a_layernorm(latent_BTL))
        return _Assemble.apply(
            q_BTHK.unflatten(-1, (self.heads, -1)),
            kv_BTHM.unflatten(-1, (self.heads, -1)),
            k_rope_BTR,
            rotary_TR,
            self.scale,
        )

    @torch.no_grad()
    def qk_clip_(self, gamma_H: Tensor) -> None:
        """Scale head h's logits by gamma_H[h] (Kimi K2, arXiv 2507.20534, Algorithm 1).

        The head's own q and k parts share the factor; the rotary key belongs to all heads and stays, so that
        its query takes gamma whole.
        """
        query = self.q_proj if self.q_rank is None else self.q_b_proj
        gamma_H11 = gamma_H.to(query.weight)[:, None, None]
        query_HKx = query.weight.view(self.heads, self.nope + self.rope, -1)
        query_HKx[:, : self.nope].mul_(gamma_H11.sqrt())
        query_HKx[:, self.nope :].mul_(gamma_H11)
        self.kv_b_proj.weight.view(self.heads, self.nope + self.value, -1)[:, : self.nope].mul_(
            gamma_H11.sqrt()
        )


class _Assemble(torch.autograd.Function):
    """Rotate, scale and lay out q, k, v by head in one step: `assemble_reference` with fewer copies."""

    @staticmethod
    def forward(
        ctx: Any, q_BTHK: Tensor, kv_BTHM: Tensor, k_rope_BTR: Tensor, rotary_TR: Tensor, scale: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        B, T, H, K = q_BTHK.shape
        nope = K - k_rope_BTR.shape[-1]
        ctx.save_for_backward(rotary_TR)
        ctx.nope, ctx.scale = nope, scale
        q_BHTK, k_BHTK = q_BTHK.new_empty(B, H, T, K), q_BTHK.new_empty(B, H, T, K)
        q_out_BTHK, k_out_BTHK = q_BHTK.transpose(1, 2), k_BHTK.transpose(1, 2)
        torch.mul(q_BTHK[..., :nope], scale, out=q_out_BTHK[..., :nope])
        q_out_BTHK[..., nope:] = rotate(q_BTHK[..., nope:], rotary_TR * scale)
        k_out_BTHK[..., :nope] = kv_BTHM[..., :nope]
        k_out_BTHK[..., nope:] = rotate(k_rope_BTR[:, :, None], rotary_TR)
        return q_BHTK, k_BHTK, kv_BTHM[..., nope:].transpose(1, 2).contiguous()

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_q_BHTK: Tensor, grad_k_BHTK: Tensor, grad_v_BHTV: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, None, None]:
        (rotary_TR,) = ctx.saved_tensors
        nope, scale, back_TR = ctx.nope, ctx.scale, rotary_TR.conj().resolve_conj()
        B, H, T, K = grad_q_BHTK.shape
        grad_q_BTHK, grad_k_BTHK = grad_q_BHTK.transpose(1, 2), grad_k_BHTK.transpose(1, 2)
        grad_kv_BTHM = grad_q_BHTK.new_empty(B, T, H, nope + grad_v_BHTV.shape[-1])
        grad_kv_BTHM[..., :nope] = grad_k_BTHK[..., :nope]
        grad_kv_BTHM[..., nope:] = grad_v_BHTV.transpose(1, 2)
        grad_rope_BTR = rotate(grad_k_BTHK[..., nope:].sum(2, keepdim=True), back_TR).squeeze(2)
        grad_out_BTHK = grad_q_BHTK.new_empty(B, T, H, K)
        torch.mul(grad_q_BTHK[..., :nope], scale, out=grad_out_BTHK[..., :nope])
        grad_out_BTHK[..., nope:] = rotate(grad_q_BTHK[..., nope:], back_TR * scale)
        return grad_out_BTHK, grad_kv_BTHM, grad_rope_BTR, None, None


def assemble_reference(
    q_BTHK: Tensor, kv_BTHM: Tensor, k_rope_BTR: Tensor, rotary_TR: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The plain twin of `_Assemble`."""
    heads, nope = q_BTHK.shape[2], q_BTHK.shape[-1] - k_rope_BTR.shape[-1]
    k_rope_BTHR = rotate(k_rope_BTR[:, :, None], rotary_TR).expand(-1, -1, heads, -1)
    q_out_BTHK = torch.cat([q_BTHK[..., :nope], rotate(q_BTHK[..., nope:], rotary_TR)], dim=-1) * scale
    k_out_BTHK = torch.cat([kv_BTHM[..., :nope], k_rope_BTHR], dim=-1)
    return q_out_BTHK.transpose(1, 2), k_out_BTHK.transpose(1, 2), kv_BTHM[..., nope:].transpose(1, 2)


@torch.no_grad()
def max_logits(
    q_BHTK: Tensor,
    k_BHTK: Tensor,
    scale: float,
    valid_BT: Tensor | None = None,
    bias_B1TT: Tensor | None = None,
) -> Tensor:
    """Largest scaled logit of each head over batch and the pairs that see each other, float32 [H]; SDPA does
    not return it. bias_B1TT as in `LatentAttention.forward`.

    A second QK^T pass in blocks of rows, half of which the causal order spares.
    """
    length = q_BHTK.shape[2]
    rows_BHT = q_BHTK.new_empty(q_BHTK.shape[:3])
    future = torch.ones(_QUERY_CHUNK, _QUERY_CHUNK, dtype=torch.bool, device=q_BHTK.device).triu(1)
    for start in range(0, length, _QUERY_CHUNK):
        stop = min(start + _QUERY_CHUNK, length)
        logits_BHts = q_BHTK[:, :, start:stop] @ k_BHTK[:, :, :stop].transpose(2, 3)
        if bias_B1TT is None:
            logits_BHts[..., start:].masked_fill_(future[: stop - start, : stop - start], -torch.inf)
        else:
            logits_BHts += bias_B1TT[:, :, start:stop, :stop]
        rows_BHT[:, :, start:stop] = logits_BHts.amax(-1)
    return _largest(rows_BHT, valid_BT).float() * scale


def _largest(rows_BHT: Tensor, valid_BT: Tensor | None) -> Tensor:
    if valid_BT is not None:
        rows_BHT.masked_fill_(~valid_BT[:, None], -torch.inf)
    return rows_BHT.amax((0, 2))
