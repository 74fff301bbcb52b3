"""Attention over latents as they are kept, not expanded to keys and values (DeepSeek-V2, arXiv 2405.04434, section 2.1.2).

    G prompts;  K rows that continue each;  R = G*K rows;  H heads;  Q new tokens;  T known tokens, the new ones included
    L latent;  P rotary;  W = L+P, what is kept of a token;  N the rest of a key;  D = N+P;  V of a value

A DeepSeek model keeps one latent and one rotary key a token, from which transformers expands every head's keys and values
of all known tokens at each step: with four beams on a prompt that is most of the time. Scores are products, so the
expansion can be applied to the query instead, and after the sum to the result. And beams read one copy of their prompt.
transformers' own attention is the plain twin.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "shared-latents"
MOST_NEW = 64
"""Beyond so many new tokens at once, expanding costs less, and the scores would take much memory."""


class Latents:
    """What a batch's attention looks back on, layer by layer: of a prompt once, and of each row what it wrote.

    Stands in for transformers' Cache: give it to the model both as `past_key_values` and as `latents`.
    """

    def __init__(self) -> None:
        self._shared: list[Tensor] = []  # [G, T, W] of each layer
        self._own: list[Tensor] = []  # [R, T, W]

    def begin(self, prefixes: Sequence[Tensor | None]) -> Tensor:
        """Start each row with a prefix read before, as `copy` gave it, or with none, padded on the left.

        Returns the mask [R, T], one where there is a token.
        """
        known = {row: one for row, one in enumerate(prefixes) if one is not None}
        longest = max((one.shape[1] for one in known.values()), default=0)
        mask_RT = torch.zeros((len(prefixes), longest), dtype=torch.long)
        for row, one in known.items():
            if not self._own:
                self._own = [layer.new_zeros(len(prefixes), longest, layer.shape[-1]) for layer in one]
            for own_RTW, layer_TW in zip(self._own, one, strict=True):
                own_RTW[row, longest - len(layer_TW) :] = layer_TW
            mask_RT[row, longest - one.shape[1] :] = 1
        return mask_RT

    def copy(self, row: int, length: int) -> Tensor:
        """A row's last `length` tokens: [layers, T, W]."""
        return torch.stack([own_RTW[row, -length:] for own_RTW in self._own])

    def share(self) -> None:
        """What the rows hold is from now on their prompts', each of which several rows may continue."""
        self._shared, self._own = self._own, []

    def keep(self, prompts_G: Tensor | None, rows_R: Tensor) -> None:
        """Reorder, repeat or drop rows, and prompts unless None."""
        if prompts_G is not None:
            self._shared = [shared_GTW[prompts_G] for shared_GTW in self._shared]
        self._own = [own_RTW[rows_R] for own_RTW in self._own]

    def pieces(self, layer: int) -> list[Tensor]:
        """What is known at a layer, in the order of the text; each piece's first dimension divides R."""
        return [held[layer] for held in (self._shared, self._own) if held]

    def update(self, latent_R1QL: Tensor, rotary_R1QP: Tensor, layer_idx: int) -> tuple[Tensor, Tensor]:
        """transformers' call: append. What is returned gets expanded to keys and values: the new tokens alone."""
        new_RQW = torch.cat([latent_R1QL[:, 0], rotary_R1QP[:, 0]], dim=-1)
        if layer_idx == len(self._own):
            self._own.append(new_RQW)
        else:
            self._own[layer_idx] = torch.cat([self._own[layer_idx], new_RQW], dim=1)
        return latent_R1QL, rotary_R1QP

    def get_seq_length(self, _layer_idx: int = 0) -> int:
        """transformers' call, for its mask: how many tokens are known before the new ones."""
        return sum(held[0].shape[1] for held in (self._shared, self._own) if held)

    get_query_offset = get_seq_length

    def get_mask_sizes(self, query_length: int, _layer_idx: int) -> tuple[int, int]:
        """transformers' call, for its mask: how many tokens it is to cover, and from where on."""
        return self.get_seq_length() + query_length, 0


def use_latents(model: PreTrainedModel) -> None:
    """Let the model's attention read `latents` where they are given to it; without, it is as before."""
    if model.config._attn_implementation != NAME:
        AttentionInterface.register(NAME, _attention)
        AttentionMaskInterface.register(NAME, sdpa_mask)
        model.set_attn_implementation(NAME)


def _attention(
    module: Any,
    query_RHQD: Tensor,
    key_RHQD: Tensor,
    value_RHQV: Tensor,
    attention_mask: Tensor | None,
    *,
    latents: Latents | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """An attention function of transformers, to [R, Q, H, V]. Keys and values given are the new tokens' alone."""
    new = query_RHQD.shape[2]
    pieces = [] if latents is None else latents.pieces(module.layer_idx)
    if sum(piece.shape[1] for piece in pieces) > new:
        if new <= MOST_NEW:
            return _absorbed(module, query_RHQD, pieces, attention_mask, kwargs["scaling"]), None
        (known_RTW,) = pieces  # texts are read whole before they are shared
        latent_R1TL, rotary_R1TP = known_RTW[:, None].split(
            [module.kv_lora_rank, module.qk_rope_head_dim], dim=-1
        )
        key_RHQD, value_RHQV = module.expand_kv(latent_R1TL, rotary_R1TP)
    return sdpa_attention_forward(module, query_RHQD, key_RHQD, value_RHQV, attention_mask, **kwargs)


def _absorbed(
    module: Any, query_RHQD: Tensor, pieces: Sequence[Tensor], mask_R1QT: Tensor | None, scaling: float
) -> Tensor:
    R, H, Q, _ = query_RHQD.shape
    L, N, V = module.kv_lora_rank, module.qk_nope_head_dim, module.v_head_dim
    key_HNL, value_HVL = module.kv_b_proj.weight.view(H, N + V, L).split([N, V], dim=1)
    query_HXL = query_RHQD[..., :N].transpose(0, 1).reshape(H, R * Q, N) @ key_HNL
    query_RHQL = query_HXL.view(H, R, Q, L).transpose(0, 1)
    query_RHQW = torch.cat([query_RHQL, query_RHQD[..., N:]], dim=-1) * scaling
    scores_RHQT = torch.cat(
        [
            (query_RHQW.view(len(piece_GTW), -1, query_RHQW.shape[-1]) @ piece_GTW.mT).view(R, H, Q, -1)
            for piece_GTW in pieces
        ],
        dim=-1,
    )
    if (
        mask_R1QT is not None
    ):  # a finite number, lest the row of a padding token, which sees nothing, becomes NaN
        scores_RHQT.masked_fill_(~mask_R1QT, torch.finfo(scores_RHQT.dtype).min)
    weights_RHQT = scores_RHQT.softmax(-1, dtype=torch.float32).to(query_RHQD.dtype)
    read_RHQL = torch.zeros_like(query_RHQL)
    start = 0
    for piece_GTW in pieces:
        G, T, _ = piece_GTW.shape
        part_GXT = weights_RHQT[..., start : start + T].reshape(G, -1, T)
        read_RHQL += (part_GXT @ piece_GTW[..., :L]).view(R, H, Q, L)
        start += T
    read_HXL = read_RHQL.transpose(0, 1).reshape(H, R * Q, L)
    return (read_HXL @ value_HVL.mT).view(H, R, Q, V).permute(1, 2, 0, 3)
