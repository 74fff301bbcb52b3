"""Passes of transformers' DeepseekV3ForCausalLM over a batch of texts, left-padded, and what is kept from one to the next.

    B prompts in the batch;  R = B*K rows, K of each prompt;  T tokens;  C of a continuation;  V vocabulary

Where `Prefixes` are given, what they keep of a prompt is not computed again.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from . import cancel
from .latents import Latents, use_latents
from .prefixes import Ids, Prefixes


class Rows:
    """The model's state on a batch of rows, `each` of every prompt: what they look back on, and the padding."""

    def __init__(
        self,
        model: PreTrainedModel,
        prompts: Sequence[Sequence[int]],
        pad_id: int,
        each: int,
        prefixes: Prefixes | None,
    ) -> None:
        logits_B1V, mask_BT, self.latents = read(model, prompts, pad_id, prefixes)
        self.latents.share()
        self.model = model
        self.each = each
        self.mask_RT = mask_BT.repeat_interleave(each, 0)
        self.logprobs_RV = logits_B1V[:, -1].float().log_softmax(-1).repeat_interleave(each, 0)

    def step(self, tokens_R: Tensor) -> None:
        """Append one token to every row and leave the next one's log-probabilities in `logprobs_RV`."""
        self.mask_RT = torch.cat([self.mask_RT, self.mask_RT.new_ones(len(tokens_R), 1)], dim=1)
        where_R1 = self.mask_RT.sum(1, keepdim=True) - 1
        logits_R1V = _logits(self.model, tokens_R[:, None], self.mask_RT, where_R1, self.latents, last=1)
        self.logprobs_RV = logits_R1V[:, -1].float().log_softmax(-1)

    def keep(self, rows: Tensor) -> None:
        """Reorder rows among those of their prompt, or drop all of a prompt's."""
        if len(rows) == len(self.mask_RT) and bool((rows == torch.arange(len(rows))).all()):
            return
        self.latents.keep(None if len(rows) == len(self.mask_RT) else rows[:: self.each] // self.each, rows)
        self.mask_RT = self.mask_RT[rows]
        self.logprobs_RV = self.logprobs_RV[rows]


def read(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    pad_id: int,
    prefixes: Prefixes | None,
    continuations: Sequence[Sequence[int]] | None = None,
) -> tuple[Tensor, Tensor, Latents]:
    """Prompts, with what continues them, in one pass after the prefixes that are kept.

    Returns logits [B, C + 1, V] of the C tokens of the longest continuation and the one after, the mask [B, T], and what
    was read. All texts end together, padded on the left, and once more between prefix and rest.
    """
    use_latents(model)
    latents = Latents()
    lengths = [0 if prefixes is None else prefixes.length(prompt) for prompt in prompts]
    continuations = continuations or [()] * len(prompts)
    rest_BT, mask_BT = left_pad(
        [[*p[n:], *c] for p, n, c in zip(prompts, lengths, continuations, strict=True)], pad_id
    )
    if prefixes is not None and any(lengths):
        starts = [tuple(prompt[:length]) for prompt, length in zip(prompts, lengths, strict=True)]
        kept = prefixes.get([one for one in starts if one], lambda missing: _latents(model, missing, pad_id))
        mask_BT = torch.cat([latents.begin([kept.get(one) for one in starts]), mask_BT], dim=1)
    where_BT = positions(mask_BT)[:, -rest_BT.shape[1] :]
    last = max(map(len, continuations)) + 1
    return _logits(model, rest_BT, mask_BT, where_BT, latents, last), mask_BT, latents


def _latents(model: PreTrainedModel, prefixes: Sequence[Ids], pad_id: int) -> list[Tensor]:
    """What is kept of each prefix, by one pass over them."""
    _, _, latents = read(model, prefixes, pad_id, None)
    return [latents.copy(row, len(ids)) for row, ids in enumerate(prefixes)]


def _logits(
    model: PreTrainedModel, ids_RT: Tensor, mask_RT: Tensor, where_RT: Tensor, latents: Latents, last: int
) -> Tensor:
    """Logits [R, last, V] of new tokens at the positions `where`; `latents` know them from then on.

    Raises Gone where nobody waits for them any more.
    """
    cancel.check()
    out = model(
        input_ids=ids_RT,
        attention_mask=None if bool(mask_RT.all()) else mask_RT,
        position_ids=where_RT,
        past_key_values=latents,
        latents=latents,
        use_cache=True,
        logits_to_keep=last,
    )
    return out.logits


def left_pad(prompts: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Ids and mask, both [B, T], with the padding on the left."""
    longest = max(map(len, prompts))
    ids_BT = torch.full((len(prompts), longest), pad_id, dtype=torch.long)
    mask_BT = torch.zeros((len(prompts), longest), dtype=torch.long)
    for row, prompt in enumerate(prompts):
        ids_BT[row, longest - len(prompt) :] = torch.tensor(prompt, dtype=torch.long)
        mask_BT[row, longest - len(prompt) :] = 1
    return ids_BT, mask_BT


def positions(mask_BT: Tensor) -> Tensor:
    """Position of each token in its own row, counting from its first real one."""
    return (mask_BT.cumsum(1) - 1).clamp_min(0)
