"""One short training run of our own model with one of three optimizers, watched closely: what the experiments are made of."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal

import torch
from torch import Tensor

from model import ModelConfig, Transformer
from model.attention import LatentAttention
from model.moe import update_router_bias
from optim.muonclip import MuonClip
from optim.schedule import lr_scale
from optim.split import split_parameters

from .library_text import LibraryText

Kind = Literal["adamw", "muon", "muonclip"]
NAMES: dict[str, str] = {"adamw": "AdamW", "muon": "Muon", "muonclip": "MuonClip"}
_ROUTER_RATE = 1e-3


@dataclass(frozen=True)
class RunSettings:
    """All that a run depends on beside the text; `key` names it in a cache."""

    optimizer: Kind
    lr: float
    seed: int
    model: ModelConfig
    rows: int = 16
    length: int = 128
    weight_decay: float = 0.1
    warmup: int = 50
    decay_fraction: float = 0.3
    tau: float = 100.0
    grad_clip: float = 1.0
    bfloat16: bool = False
    nesterov: bool = False
    beta2: float = 0.95
    held_out_batches: int = 48

    @property
    def step_tokens(self) -> int:
        return self.rows * self.length

    def key(self, text_sha256: str, steps: int) -> str:
        """A digest of what was chosen and of the text; a field added later, left at its default, does not change it."""
        chosen = json.dumps([_chosen(self), _chosen(self.model), text_sha256, steps], sort_keys=True)
        return hashlib.sha256(chosen.encode()).hexdigest()[:16]


@dataclass
class Watched:
    """What each step so far showed."""

    loss: list[float]
    max_logit_H: list[list[float]]
    """Every head's largest logit of a step's forward pass, layer after layer."""
    clipped_heads: list[int]


class ShortRun:
    """A model, its optimizer and how far they are; steps follow a warm-up-stable-decay schedule of any length."""

    def __init__(self, settings: RunSettings, text: LibraryText) -> None:
        torch.manual_seed(settings.seed)
        self.settings, self.text = settings, text
        self.model = Transformer(settings.model)
        self.attentions = [m for m in self.model.modules() if isinstance(m, LatentAttention)]
        self.optimizer = _optimizer(settings, self.model, self.attentions)
        for attention in self.attentions:
            attention.track_max_logits = True
        self.peaks = [group["lr"] for group in self.optimizer.param_groups]
        self.done = 0
        self.watched = Watched([], [], [])

    def train(self, until: int, total: int, say: Callable[[str], None] = lambda _: None) -> None:
        """Go on to step `until` of a run of `total` steps. A loss that is no number ends it: NaN from there on."""
        settings = self.settings
        self.model.train()
        while self.done < until:
            scale = lr_scale(self.done, total, settings.warmup, settings.decay_fraction)
            for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
                group["lr"] = peak * scale
            loss = self._loss(*self.text.batch(self.done, settings.rows, settings.length, settings.seed))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.grad_clip)
            self.watched.loss.append(float(loss.detach()))
            self.watched.max_logit_H.append(self._take_logits())
            self.optimizer.step()
            self.watched.clipped_heads.append(
                self.optimizer.last_clip.clipped_heads if isinstance(self.optimizer, MuonClip) else 0
            )
            for attention in self.attentions:
                attention.max_logits_H = None
            self.optimizer.zero_grad()
            update_router_bias(self.model, _ROUTER_RATE)
            self.done += 1
            if self.done % 100 == 0:
                recent = self.watched.loss[-50:]
                largest = max(map(max, self.watched.max_logit_H[-50:]))
                say(f"step {self.done} loss {sum(recent) / len(recent):.3f} largest logit {largest:.0f}")

    def _take_logits(self) -> list[float]:
        """Each head's largest logit; they stay recorded, for the optimizer to see."""
        return [
            round(one, 3)
            for a in self.attentions
            if a.max_logits_H is not None
            for one in a.max_logits_H.tolist()
        ]

    @torch.no_grad()
    def held_out_loss(self) -> float:
        """Mean loss a token over held-out files; infinite where it is no number."""
        self.model.eval()
        batches = self.text.held_out(self.settings.rows, self.settings.length, self.settings.held_out_batches)
        losses = [float(self._loss(*batch)) * len(batch[0]) for batch in batches]
        for attention in self.attentions:
            attention.max_logits_H = None
        mean = sum(losses) / sum(len(batch[0]) for batch in batches)
        return mean if math.isfinite(mean) else math.inf

    def branch(self) -> ShortRun:
        """A copy that goes on from here by itself, exactly as this one would."""
        twin = ShortRun(self.settings, self.text)
        twin.model.load_state_dict(self.model.state_dict())
        # Loading does not copy: without this the two would write into the same momentum.
        twin.optimizer.load_state_dict(copy.deepcopy(self.optimizer.state_dict()))
        twin.done = self.done
        return twin

    def _loss(self, tokens_BT: Tensor, targets_BT: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.settings.bfloat16):
            loss: Tensor = self.model.loss(tokens_BT, targets_BT)[0]
        return loss


def _chosen(settings: Any) -> dict[str, Any]:
    """The fields that are plain values and not at their defaults."""
    values = {field.name: (getattr(settings, field.name), field.default) for field in fields(settings)}
    return {name: value for name, (value, default) in values.items() if value != default and name != "model"}


def _optimizer(
    settings: RunSettings, model: Transformer, attentions: list[LatentAttention]
) -> torch.optim.Optimizer:
    """The same groups for all three: vectors never decay; AdamW takes the matrices that Muon would have had."""
    groups: list[dict[str, Any]] = split_parameters(model)
    betas = (0.9, settings.beta2)
    if settings.optimizer == "adamw":
        groups = [{key: value for key, value in group.items() if key != "use_muon"} for group in groups]
        return torch.optim.AdamW(
            groups, lr=settings.lr, betas=betas, weight_decay=settings.weight_decay, foreach=True
        )
    return MuonClip(
        groups,
        lr=settings.lr,
        betas=betas,
        weight_decay=settings.weight_decay,
        nesterov=settings.nesterov,
        ns_dtype=torch.float32,  # not what is fast here and now: a run that is resumed or repeated is the same
        attentions=attentions if settings.optimizer == "muonclip" else (),
        tau=settings.tau,
    )
