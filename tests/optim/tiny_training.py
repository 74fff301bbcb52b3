"""The smallest real things that the tests of `optim` train: a clippable attention, a language model."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from optim import MuonClip, split_parameters, wsd

VOCABULARY = 31


class TinyAttention(nn.Module):
    """Causal attention of H heads that records its largest logits."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.track_max_logits = False
        self.max_logits_H: Tensor | None = None

    def logits(self, x_BTD: Tensor) -> Tensor:
        """[B, H, T, T], unmasked and scaled."""
        q_BHTK, k_BHTK = (
            proj(x_BTD).unflatten(-1, (self.heads, -1)).transpose(1, 2) for proj in (self.q_proj, self.k_proj)
        )
        return q_BHTK @ k_BHTK.mT * q_BHTK.shape[-1] ** -0.5

    def forward(self, x_BTD: Tensor) -> Tensor:
        length = x_BTD.shape[1]
        future = torch.ones(length, length, dtype=torch.bool).triu(1)
        logits_BHTT = self.logits(x_BTD).masked_fill(future, -torch.inf)
        if self.track_max_logits:
            seen_H = logits_BHTT.detach().amax((0, 2, 3)).float()
            self.max_logits_H = seen_H if self.max_logits_H is None else self.max_logits_H.maximum(seen_H)
        v_BHTK = self.v_proj(x_BTD).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return (logits_BHTT.softmax(-1) @ v_BHTK).transpose(1, 2).flatten(2)

    @torch.no_grad()
    def qk_clip_(self, gamma_H: Tensor) -> None:
        for proj in (self.q_proj, self.k_proj):
            proj.weight.unflatten(0, (self.heads, -1)).mul_(gamma_H.sqrt()[:, None, None])


class TinyModel(nn.Module):
    """One layer of attention and a stack of two experts, averaged, between embedding and output head."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(VOCABULARY, width)
        self.attention = TinyAttention(width, heads=2)
        self.experts = nn.Parameter(torch.randn(2, 2 * width, width) * 0.1)
        self.down = nn.Linear(2 * width, width)
        self.norm = nn.LayerNorm(width)
        self.lm_head = nn.Linear(width, VOCABULARY, bias=False)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        x_BTD = self.embed_tokens(tokens_BT)
        x_BTD = x_BTD + self.attention(x_BTD)
        hidden = torch.einsum("btd,efd->btf", x_BTD, self.experts) / 2
        return self.lm_head(self.norm(x_BTD + self.down(F.gelu(hidden))))

    def loss(self, tokens_BT: Tensor, targets_BT: Tensor) -> tuple[Tensor, int]:
        loss = F.cross_entropy(self(tokens_BT).flatten(0, 1).float(), targets_BT.flatten())
        return loss, int((targets_BT != -100).sum())


def batches(step: int) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Sequences that count upwards from a random token; a function of the step."""
    while True:
        random = torch.Generator().manual_seed(step)
        start_B1 = torch.randint(VOCABULARY, (8, 1), generator=random)
        tokens_BT = (start_B1 + torch.arange(12)) % VOCABULARY
        yield [(tokens_BT[:, :-1], tokens_BT[:, 1:])]
        step += 1


def build(steps: int, seed: int = 0, tau: float = 100.0):
    """A model, its optimizer and its schedule; float32 throughout, so that ranks can be compared closely."""
    torch.manual_seed(seed)
    model = TinyModel()
    optimizer = MuonClip(
        split_parameters(model), lr=0.02, attentions=[model.attention], tau=tau, ns_dtype=torch.float32
    )
    return model, optimizer, wsd(optimizer, steps, warmup=2, decay_fraction=0.5)
