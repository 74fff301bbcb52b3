"""How many tokens MuonClip needs to reach the loss of tuned AdamW, on real text; Moonlight (arXiv 2502.16982, 3.2) reports 0.52.

Both train the same model on the same batches at each of several budgets of tokens, each budget with a decay to
zero of its own, at each learning rate of one grid. The grid grows, for both, until neither's best rate is at an
edge. Each optimizer's best rate at a budget is then run with more seeds. As the schedule is constant before its decay, the
budgets of one learning rate share one trunk, from which each branches off where its decay begins: the same run,
bit for bit, as one of that budget alone.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from model import ModelConfig
from optim.schedule import decay_start

from ..settings import Settings
from .experiment import Experiment
from .library_text import LibraryText, library_text
from .run_cache import RunCache
from .short_run import Kind, RunSettings, ShortRun

MOONLIGHT, TARGET = 0.52, 0.55
OPTIMIZERS: tuple[Kind, Kind] = ("adamw", "muonclip")

Curve = dict[int, float]  # steps of a budget to held-out loss
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What is run; `budgets` are numbers of steps, ascending."""

    run: RunSettings
    vocab_size: int
    text_bytes: int | None
    budgets: tuple[int, ...]
    rates: tuple[float, ...]
    extensions: int
    seeds: tuple[int, ...]


# All layers dense, as in Moonlight's scaling runs. Weights begin at about hidden_size ** -0.5, which AdamW wants: at 0.02 it
# lost 0.8 nats in a trial of 200 steps, and MuonClip gained 0.04.
_MODEL = ModelConfig(
    vocab_size=1024, hidden_size=64, num_hidden_layers=3, num_attention_heads=2, kv_lora_rank=32,
    qk_nope_head_dim=16, qk_rope_head_dim=16, v_head_dim=32, intermediate_size=192,
    moe_intermediate_size=64, n_routed_experts=8, num_experts_per_tok=2, first_k_dense_replace=3,
    max_position_embeddings=256, initializer_range=0.08,
)  # fmt: skip
FULL = Plan(
    run=RunSettings(
        "adamw",
        0.0,
        0,
        _MODEL,
        warmup=25,
        decay_fraction=0.2,
        bfloat16=True,
        held_out_batches=24,
        nesterov=True,  # as Moonlight's code
    ),
    vocab_size=1024,
    text_bytes=None,
    budgets=(150, 205, 275, 370, 500),  # 275 is 0.55 of 500
    rates=(5e-3, 1e-2, 2e-2),
    extensions=3,
    seeds=(0, 1, 2),
)
QUICK = Plan(
    run=replace(
        FULL.run,
        model=replace(_MODEL, vocab_size=512, hidden_size=32, num_attention_heads=1, first_k_dense_replace=2,
                      num_hidden_layers=2, kv_lora_rank=16, intermediate_size=64),
        rows=4, length=64, warmup=4, bfloat16=False,
    ),
    vocab_size=512,
    text_bytes=300_000,
    budgets=(16, 22, 30),
    rates=(1e-2, 2e-2),
    extensions=0,
    seeds=(0, 1),
)  # fmt: skip


def run(settings: Settings, experiment: Experiment) -> dict[str, Any]:
    """Held-out losses by optimizer, budget, rate and seed; the ratio of tokens, direct and by fit; the figure drawn."""
    plan = QUICK if experiment.quick else FULL
    torch.set_num_threads(settings.threads or 1)
    text = library_text(plan.vocab_size, plan.text_bytes)
    cache = RunCache(experiment.out / "tokens_runs.jsonl")

    def losses(kind: Kind, rate: float, seed: int) -> Curve:
        asked = replace(plan.run, optimizer=kind, lr=rate, seed=seed)
        return _losses(asked, plan.budgets, text, cache, experiment.say)

    rates, swept = _sweep(plan, losses)
    best = {
        kind: {budget: min(rates, key=lambda rate: swept[kind][rate][budget]) for budget in plan.budgets}
        for kind in OPTIMIZERS
    }
    by_seed = {
        kind: [
            {budget: losses(kind, best[kind][budget], seed)[budget] for budget in plan.budgets}
            for seed in plan.seeds
        ]
        for kind in OPTIMIZERS
    }
    found = {
        "text": text.described,
        "model": {
            "parameters": plan.run.model.parameter_count().total,
            "beside_embedding_and_head": plan.run.model.parameter_count().active_non_embedding,
            "hidden_size": plan.run.model.hidden_size,
            "layers": plan.run.model.num_hidden_layers,
        },
        "conditions": {
            "batch_tokens": plan.run.step_tokens,
            "schedule": f"warm-up {plan.run.warmup} steps, constant, the last {plan.run.decay_fraction:.0%} down to zero",
            "weight_decay": plan.run.weight_decay,
            "grad_clip": plan.run.grad_clip,
            "adamw_betas": [0.9, plan.run.beta2],
            "momentum": 0.95,
            "nesterov": plan.run.nesterov,
            "autocast": "bfloat16" if plan.run.bfloat16 else "none",
            "seeds": list(plan.seeds),
        },
        "budget_tokens": [budget * plan.run.step_tokens for budget in plan.budgets],
        "rates": list(rates),
        "sweep": {
            kind: {f"{rate:g}": [round(swept[kind][rate][b], 4) for b in plan.budgets] for rate in rates}
            for kind in OPTIMIZERS
        },
        "best_rate": {kind: [best[kind][budget] for budget in plan.budgets] for kind in OPTIMIZERS},
        "best_rate_is_interior": {
            kind: all(rates[0] < rate < rates[-1] for rate in best[kind].values()) for kind in OPTIMIZERS
        },
        "loss_by_seed": {
            kind: [[round(curve[b], 4) for b in plan.budgets] for curve in by_seed[kind]]
            for kind in OPTIMIZERS
        },
        **compare(by_seed["adamw"], by_seed["muonclip"]),
        "moonlight_reports": MOONLIGHT,
        "target": TARGET,
    }
    if experiment.plots:
        from .tokens_plot import draw

        found["figures"] = draw(found, experiment.out)
    return found


def compare(adamw: Sequence[Curve], muonclip: Sequence[Curve]) -> dict[str, Any]:
    """The ratios of tokens at AdamW's last loss, from the curves of the same seeds over the same budgets.

    `interpolated` reads MuonClip's measured curve, straight between budgets in log tokens and log loss; `fitted` puts a power law
    through each curve, as Moonlight does. A ratio is None where MuonClip's curve does not reach that loss.
    """
    budgets = sorted(adamw[0])
    last = budgets[-1]
    mean_adamw, mean_muonclip = _mean(adamw), _mean(muonclip)
    fits = {"adamw": power_law(mean_adamw), "muonclip": power_law(mean_muonclip)}
    by_seed = [tokens_ratio(one, other) for one, other in zip(adamw, muonclip, strict=True)]
    near = min(budgets, key=lambda budget: abs(budget / last - TARGET))
    gaps = [other[near] - one[last] for one, other in zip(adamw, muonclip, strict=True)]
    at_each = {
        str(budget): tokens_ratio({b: loss for b, loss in mean_adamw.items() if b <= budget}, mean_muonclip)
        for budget in budgets[1:]
    }
    return {
        "tokens_ratio": _rounded(tokens_ratio(mean_adamw, mean_muonclip)),
        "tokens_ratio_by_seed": [_rounded(one) for one in by_seed],
        "tokens_ratio_fitted": _rounded(_fitted_ratio(fits["adamw"], fits["muonclip"], last)),
        "tokens_ratio_at_each_adamw_budget": {key: _rounded(one) for key, one in at_each.items()},
        "power_law": {
            kind: {
                "loss_at_one_step": round(math.exp(a), 3),
                "exponent": round(b, 4),
                "rms_of_log_loss": round(rms, 5),
            }
            for kind, (a, b, rms) in fits.items()
        },
        "direct": {
            "muonclip_share_of_tokens": round(near / last, 3),
            "muonclip_loss_minus_adamw_loss": [round(gap, 4) for gap in gaps],
            "mean": round(statistics.fmean(gaps), 4),
            "reached_by_all_seeds": all(gap <= 0 for gap in gaps),
        },
        "loss": {
            kind: {
                "mean": [round(mean[b], 4) for b in budgets],
                "deviation": [round(_deviation([one[b] for one in curves]), 4) for b in budgets],
            }
            for kind, mean, curves in (("adamw", mean_adamw, adamw), ("muonclip", mean_muonclip, muonclip))
        },
    }


def tokens_ratio(adamw: Curve, muonclip: Curve) -> float | None:
    """Tokens at which `muonclip` has the loss that `adamw` ends with, over adamw's; None where it never has.

    Where its first point is already below, the straight line of its first two is followed back.
    """
    last = max(adamw)
    wanted = math.log(adamw[last])
    points = [(math.log(budget), math.log(muonclip[budget])) for budget in sorted(muonclip)]
    if not all(math.isfinite(y) for _, y in points) or not math.isfinite(wanted):
        return None
    for (x0, y0), (x1, y1) in pairwise(points):
        if y1 <= wanted and y1 < y0:
            return math.exp(x0 + (wanted - y0) / (y1 - y0) * (x1 - x0)) / last
    return None


def power_law(curve: Curve) -> tuple[float, float, float]:
    """(a, b, rms) of log loss = a + b log steps by least squares; rms is of what is left over."""
    x_N, y_N = np.log(np.array(sorted(curve), dtype=np.float64)), np.log([curve[b] for b in sorted(curve)])
    slope, intercept = np.polyfit(x_N, y_N, 1)
    left_N = y_N - (intercept + slope * x_N)
    return float(intercept), float(slope), float(np.sqrt(np.mean(left_N**2)))


def _fitted_ratio(
    adamw: tuple[float, float, float], muonclip: tuple[float, float, float], last: int
) -> float | None:
    wanted = adamw[0] + adamw[1] * math.log(last)
    if muonclip[1] >= 0:
        return None
    return math.exp((wanted - muonclip[0]) / muonclip[1]) / last


def _sweep(
    plan: Plan, losses: Callable[[Kind, float, int], Curve]
) -> tuple[tuple[float, ...], dict[Kind, dict[float, Curve]]]:
    """The grid in the end and every loss on it with the first seed; it grows by a factor of 2 where a best is at an edge."""
    rates = list(plan.rates)
    for extension in range(plan.extensions + 1):
        swept = {kind: {rate: losses(kind, rate, plan.seeds[0]) for rate in rates} for kind in OPTIMIZERS}
        best = {
            min(rates, key=lambda rate, kind=kind, budget=budget: swept[kind][rate][budget])  # type: ignore[misc]
            for kind in OPTIMIZERS
            for budget in plan.budgets
        }
        low, high = rates[0] in best, rates[-1] in best
        if extension == plan.extensions or not (low or high):
            break
        rates = [*([rates[0] / 2] if low else []), *rates, *([rates[-1] * 2] if high else [])]
    return tuple(rates), swept


def _losses(
    settings: RunSettings, budgets: Sequence[int], text: LibraryText, cache: RunCache, say: Progress
) -> Curve:
    """Held-out loss of `settings` at each budget; each budget's run is kept once it has ended."""

    def train() -> dict[str, Any]:
        label = f"{settings.optimizer} lr {settings.lr:g} seed {settings.seed}"
        trunk = ShortRun(settings, text)
        curve, largest = {}, 0.0
        for budget in budgets:
            trunk.train(decay_start(budget, settings.decay_fraction), budget)
            end = trunk if budget == budgets[-1] else trunk.branch()
            end.train(budget, budget)
            curve[str(budget)] = end.held_out_loss()
            say(f"{label}: {budget * settings.step_tokens:,} tokens, held-out loss {curve[str(budget)]:.4f}")
            largest = max(largest, *(max(heads) for heads in end.watched.max_logit_H))
        return {"what": label, "losses": curve, "largest_logit": largest}

    key = settings.key(text.described["sha256"], budgets[-1]) + "-" + "-".join(map(str, budgets))
    found = cache.get_or_run(key, train)
    return {int(budget): loss for budget, loss in found["losses"].items()}


def _mean(curves: Sequence[Curve]) -> Curve:
    return {budget: statistics.fmean(curve[budget] for curve in curves) for budget in curves[0]}


def _deviation(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
