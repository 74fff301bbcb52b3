"""Whether attention's logits explode without QK-clip and stay at tau with it (Kimi K2, arXiv 2507.20534, 2.1).

AdamW, Muon and MuonClip train the same small model on the same batches under conditions that let logits grow: a learning rate
far above the best one, held constant for most of the run, and no weight decay. The conditions are the same for
all three, also the clipping of gradients. A head's logit is recorded in the forward pass, before the step that is clipped, so
that one step's growth stands above tau: the overshoot.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from model import PRESETS

from ..settings import Settings
from .experiment import Experiment
from .library_text import LibraryText, library_text
from .run_cache import RunCache
from .short_run import Kind, RunSettings, ShortRun

OPTIMIZERS: tuple[Kind, Kind, Kind] = ("muon", "muonclip", "adamw")
EXPLODED = 1000.0
SPIKE, SPIKE_WINDOW = 0.5, 50  # nats above the median of so many steps before
SEEDS, STEPS = (0, 1, 2), 700
VOCABULARY = 512

# Attention is what explodes: dense layers in place of the preset's experts leave it as it is, and take a third of the time.
_MODEL = replace(PRESETS["tiny"], first_k_dense_replace=PRESETS["tiny"].num_hidden_layers)
_FULL = RunSettings(
    "adamw", 0.06, 0, _MODEL, rows=4, length=128, weight_decay=0.0, warmup=20, decay_fraction=0.2
)
_QUICK = replace(_FULL, rows=4, length=64, tau=3.0)


def run(settings: Settings, experiment: Experiment) -> dict[str, Any]:
    """The largest logits, spikes and losses of the three, by seed, with how far MuonClip overshot; the figure drawn."""
    plan, steps, seeds = (_QUICK, 60, (0,)) if experiment.quick else (_FULL, STEPS, SEEDS)
    torch.set_num_threads(settings.threads or 1)
    text = library_text(VOCABULARY, 300_000 if experiment.quick else None)
    cache = RunCache(experiment.out / "stability_runs.jsonl")
    runs: dict[Kind, list[dict[str, Any]]] = {kind: [] for kind in OPTIMIZERS}
    for seed in seeds:
        for kind in OPTIMIZERS:
            asked = replace(plan, optimizer=kind, seed=seed)
            runs[kind].append(_watched(asked, steps, text, cache, experiment))
    constant_until = round(steps * (1 - plan.decay_fraction))
    found: dict[str, Any] = {
        "text": text.described,
        "model": {"preset": "tiny, all layers dense", "parameters": plan.model.parameter_count().total},
        "conditions": {
            "lr": plan.lr,
            "schedule": f"warm-up {plan.warmup} steps, constant until step {constant_until}, then down to zero",
            "steps": steps,
            "batch_tokens": plan.step_tokens,
            "weight_decay": plan.weight_decay,
            "grad_clip": plan.grad_clip,
            "tau": plan.tau,
            "seeds": list(seeds),
        },
        "optimizers": {kind: _summary(runs[kind]) for kind in OPTIMIZERS},
        "muonclip": _clipping(runs["muonclip"], plan.tau),
        "muonclip_loss_minus_muon_loss": _difference(runs, "muonclip", "muon"),
    }
    losses = {kind: [one["held_out_loss"] for one in runs[kind]] for kind in OPTIMIZERS}
    largest = {kind: min(_largest(one) for one in runs[kind]) for kind in OPTIMIZERS}
    found["claims"] = {
        "adamw_passed_1000_in_every_run": largest["adamw"] > EXPLODED,
        "muon_passed_1000_in_every_run": largest["muon"] > EXPLODED,
        "muonclip_no_spike": not any(spikes(one["loss"]) for one in runs["muonclip"]),
        "muonclip_no_worse_than_muon": statistics.fmean(losses["muonclip"])
        <= statistics.fmean(losses["muon"]),
    }
    if experiment.plots:
        from .stability_plot import draw

        found["figures"] = draw(runs, plan.tau, experiment.out)
    return found


def spikes(losses: Sequence[float]) -> list[int]:
    """Steps at which the loss stands SPIKE nats above the median of the SPIKE_WINDOW steps before, or is no number."""
    return [
        step
        for step in range(SPIKE_WINDOW, len(losses))
        if not losses[step] - statistics.median(losses[step - SPIKE_WINDOW : step]) < SPIKE
    ]


def overshoot(max_logit_H: Sequence[Sequence[float]], tau: float) -> dict[str, Any]:
    """How far above tau logits were seen, as shares of tau, over the heads and steps from the first that passed it."""
    first = next((step for step, heads in enumerate(max_logit_H) if max(heads) > tau), None)
    if first is None:
        return {"first_step_above_tau": None, "median": 0.0, "p99": 0.0, "largest": 0.0}
    above = sorted(max(heads) / tau - 1 for heads in max_logit_H[first:])
    return {
        "first_step_above_tau": first,
        "median": round(statistics.median(above), 4),
        "p99": round(above[min(len(above) - 1, math.ceil(0.99 * len(above)) - 1)], 4),
        "largest": round(above[-1], 4),
    }


def _watched(
    settings: RunSettings, steps: int, text: LibraryText, cache: RunCache, experiment: Experiment
) -> dict[str, Any]:
    def train() -> dict[str, Any]:
        short = ShortRun(settings, text)
        label = f"{settings.optimizer} seed {settings.seed}"
        short.train(steps, steps, lambda said: experiment.say(f"{label}: {said}"))
        watched = short.watched
        return {
            "what": label,
            "held_out_loss": short.held_out_loss(),
            "loss": [round(one, 4) for one in watched.loss],
            "max_logit_H": watched.max_logit_H,
            "clipped_heads": watched.clipped_heads,
        }

    return cache.get_or_run(settings.key(text.described["sha256"], steps), train)


def _largest(one: dict[str, Any]) -> float:
    return max(max(heads) for heads in one["max_logit_H"])


def _summary(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    losses = [one["held_out_loss"] for one in runs]
    passed = [
        next((step for step, heads in enumerate(one["max_logit_H"]) if max(heads) > EXPLODED), None)
        for one in runs
    ]
    return {
        "largest_logit": [round(_largest(one), 1) for one in runs],
        "step_that_passed_1000": passed,
        "held_out_loss": [round(loss, 4) for loss in losses],
        "held_out_loss_mean": round(statistics.fmean(losses), 4),
        "held_out_loss_deviation": round(statistics.stdev(losses), 4) if len(losses) > 1 else None,
        "loss_spikes": [len(spikes(one["loss"])) for one in runs],
    }


def _clipping(runs: Sequence[dict[str, Any]], tau: float) -> dict[str, Any]:
    heads = len(runs[0]["max_logit_H"][0])
    return {
        "overshoot": [overshoot(one["max_logit_H"], tau) for one in runs],
        "heads": heads,
        "heads_ever_above_tau": [
            sum(any(step[head] > tau for step in one["max_logit_H"]) for head in range(heads)) for one in runs
        ],
        "share_of_steps_that_clipped": [
            round(sum(count > 0 for count in one["clipped_heads"]) / len(one["clipped_heads"]), 4)
            for one in runs
        ],
    }


def _difference(runs: dict[Kind, list[dict[str, Any]]], one: Kind, other: Kind) -> dict[str, Any]:
    """Held-out loss of one minus the other's by seed, whose batches and first weights are the same."""
    gaps = [a["held_out_loss"] - b["held_out_loss"] for a, b in zip(runs[one], runs[other], strict=True)]
    return {"by_seed": [round(gap, 4) for gap in gaps], "mean": round(statistics.fmean(gaps), 4)}
