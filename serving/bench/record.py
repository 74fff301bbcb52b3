"""Tables for docs/results.md from what the experiments printed: `python -m serving.bench.record FILE.json ...`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .short_run import NAMES


def record(printed: Mapping[str, Any]) -> str:
    """Markdown of one experiment's JSON, with machine, date and commit."""
    tables = {"stability": _stability, "tokens": _tokens}
    if printed.get("benchmark") not in tables:
        raise SystemExit(
            f"no table for the benchmark {printed.get('benchmark')!r}; there are: {', '.join(tables)}"
        )
    machine = printed["machine"]
    head = (
        f"`suresql bench {printed['benchmark']} --json --out DIR`, {printed['date']}, commit {printed['commit']}, "
        f"{machine['cpus']} CPUs, {machine['platform']}, Python {machine['python']}, {printed['seconds']:.0f} s "
        "(runs found in DIR not counted)."
    )
    text = printed["figures"]["text"]
    said = (
        f"Text: {text['what']}, {text['files']} files, {text['bytes']:,} bytes, sha256 {text['sha256'][:12]}, "
        f"{text['held_out_files']} files held out; a vocabulary of {text['vocab_size']}."
    )
    return "\n\n".join([head, said, tables[printed["benchmark"]](printed["figures"])])


def _stability(figures: Mapping[str, Any]) -> str:
    given = figures["conditions"]
    rows = [
        [
            NAMES[kind],
            _several(one["largest_logit"], "{:,.0f}"),
            _several(one["step_that_passed_1000"], "{}"),
            _several(one["loss_spikes"], "{}"),
            _several(one["held_out_loss"], "{:.3f}"),
            f"{one['held_out_loss_mean']:.3f}",
        ]
        for kind, one in figures["optimizers"].items()
    ]
    clip = figures["muonclip"]
    over = [f"{one['median']:.1%} / {one['p99']:.1%} / {one['largest']:.1%}" for one in clip["overshoot"]]
    gap = figures["muonclip_loss_minus_muon_loss"]
    return "\n\n".join(
        [
            f"Model: {figures['model']['preset']}, {figures['model']['parameters']:,} parameters. The same for all three: "
            f"lr {given['lr']:g}, {given['schedule']}, {given['batch_tokens']} tokens a step, "
            f"weight decay {given['weight_decay']:g}, gradients clipped to {given['grad_clip']:g}; tau {given['tau']:g}. "
            f"By seed {_several(given['seeds'], '{}')}:",
            _table(
                ["", "largest logit", "step that passed 1,000", "loss spikes", "held-out loss", "mean"], rows
            ),
            f"MuonClip: above tau by (median / 99th percentile / largest, over the steps from the first clip) {'; '.join(over)}; "
            f"heads ever above tau {_several(clip['heads_ever_above_tau'], '{}')} of {clip['heads']}; its loss minus Muon's "
            f"{_several(gap['by_seed'], '{:+.3f}')}, mean {gap['mean']:+.3f}.",
        ]
    )


def _tokens(figures: Mapping[str, Any]) -> str:
    given, direct = figures["conditions"], figures["direct"]
    rows = [
        [
            NAMES[kind],
            *(
                f"{mean:.3f} ± {deviation:.3f} ({rate:g})"
                for mean, deviation, rate in zip(
                    figures["loss"][kind]["mean"],
                    figures["loss"][kind]["deviation"],
                    figures["best_rate"][kind],
                    strict=True,
                )
            ),
        ]
        for kind in figures["loss"]
    ]
    sweep = [
        [f"{NAMES[kind]}, lr {rate}", *(f"{loss:.3f}" for loss in losses)]
        for kind, by_rate in figures["sweep"].items()
        for rate, losses in by_rate.items()
    ]
    budgets = [f"{tokens:,} tokens" for tokens in figures["budget_tokens"]]
    return "\n\n".join(
        [
            f"Model: {figures['model']['layers']} dense layers of {figures['model']['hidden_size']}, "
            f"{figures['model']['parameters']:,} parameters, {figures['model']['beside_embedding_and_head']:,} beside embedding "
            f"and head. {given['batch_tokens']} tokens a step; {given['schedule']}; weight decay {given['weight_decay']:g}.",
            f"**Tokens to AdamW's last loss: {_number(figures['tokens_ratio'])}** (by seed "
            f"{_several(figures['tokens_ratio_by_seed'], '{}')}; by power laws {_number(figures['tokens_ratio_fitted'])}; "
            f"target {figures['target']}, Moonlight {figures['moonlight_reports']}). With "
            f"{direct['muonclip_share_of_tokens']:.2f} of the tokens MuonClip's loss minus AdamW's is "
            f"{_several(direct['muonclip_loss_minus_adamw_loss'], '{:+.3f}')}.",
            "Held-out loss, mean ± deviation over seeds, at the best rate (in brackets):",
            _table(["", *budgets], rows),
            "The sweep, first seed:",
            _table(["", *budgets], sweep),
        ]
    )


def _several(values: Sequence[Any], form: str) -> str:
    return ", ".join("never" if value is None else form.format(value) for value in values)


def _number(value: float | None) -> str:
    return "not reached" if value is None else f"{value:.2f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    print("\n\n".join(record(json.loads(Path(name).read_text(encoding="utf-8"))) for name in sys.argv[1:]))
