"""Figure of `bench stability`: the largest logit by step, and the loss by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from .figure import COLOURS, INK, NAMES, panels, save, smoothed


def draw(runs: Mapping[Any, Sequence[Mapping[str, Any]]], tau: float, folder: Path) -> list[str]:
    """`stability.svg` in `folder`: every seed's run as a thin line, its optimizer's name at the first one's end."""
    figure, (logits, loss) = panels(2)
    steps = max(len(one["loss"]) for some in runs.values() for one in some)
    for kind, some in runs.items():
        ends = []
        for number, one in enumerate(some):
            largest = [max(heads) for heads in one["max_logit_H"]]
            curve = smoothed(one["loss"], max(1, steps // 25))
            logits.plot(largest, color=COLOURS[kind], linewidth=1.1, alpha=1 if number == 0 else 0.45)
            loss.plot(curve, color=COLOURS[kind], linewidth=1.1, alpha=1 if number == 0 else 0.45)
            ends.append((largest[-1], curve[-1]))
        _name(logits, kind, steps, ends[0][0])
    _loss_names(loss, runs, steps)
    logits.set_yscale("log")
    logits.axhline(tau, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    logits.annotate(f"tau = {tau:g}", (steps, tau), (-2, -4), textcoords="offset points", ha="right", va="top", fontsize=9)
    logits.set_title("Largest attention logit of any head")
    loss.set_title("Training loss, nats a token")
    low = min(min(smoothed(one["loss"], max(1, steps // 25))) for some in runs.values() for one in some)
    start = max(one["loss"][min(steps // 20, len(one["loss"]) - 1)] for some in runs.values() for one in some)
    loss.set_ylim(low - 0.1, start + 0.2)
    for axes in (logits, loss):
        axes.set_xlabel("step")
        axes.set_xlim(0, steps * 1.02)
    return [save(figure, folder / "stability")]


def _name(axes: Axes, kind: str, steps: int, height: float) -> None:
    axes.annotate(
        NAMES[kind], (steps, height), (6, 0), textcoords="offset points", color=COLOURS[kind], va="center",
        fontweight="bold", annotation_clip=False,
    )  # fmt: skip


def _loss_names(axes: Axes, runs: Mapping[Any, Sequence[Mapping[str, Any]]], steps: int) -> None:
    """Names at the right ends, kept apart where the curves end close together."""
    ends = sorted((smoothed(some[0]["loss"], max(1, steps // 25))[-1], kind) for kind, some in runs.items())
    gap = 0.05 * max(ends[-1][0] - ends[0][0], 1.0) * 2
    previous = float("-inf")
    for height, kind in ends:
        previous = max(height, previous + gap)
        _name(axes, kind, steps, previous)
