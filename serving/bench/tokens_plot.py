"""Figure of `bench tokens`: held-out loss by tokens of both optimizers, and the sweeps of the learning rate."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from .figure import COLOURS, INK, panels, save
from .short_run import NAMES


def draw(found: Mapping[str, Any], folder: Path) -> list[str]:
    """`tokens.svg` in `folder`, of the figures that `tokens_to_loss.run` returns."""
    figure, (curves, sweep) = panels(2)
    _curves(curves, found)
    _sweep(sweep, found)
    return [save(figure, folder / "tokens")]


def _curves(axes: Axes, found: Mapping[str, Any]) -> None:
    budgets = [tokens / 1e6 for tokens in found["budget_tokens"]]
    for kind, seeds in found["loss_by_seed"].items():
        means = found["loss"][kind]["mean"]
        for losses in seeds:
            axes.plot(budgets, losses, "o", color=COLOURS[kind], markersize=2.5, alpha=0.5)
        axes.plot(budgets, means, color=COLOURS[kind], linewidth=1.8)
        axes.annotate(
            NAMES[kind], (budgets[-1], means[-1]), (8, 0), textcoords="offset points", color=COLOURS[kind],
            fontweight="bold", va="center", annotation_clip=False,
        )  # fmt: skip
    wanted, ratio = found["loss"]["adamw"]["mean"][-1], found["tokens_ratio"]
    if ratio is not None:
        reached = ratio * budgets[-1]
        axes.annotate(
            "", (reached, wanted), (budgets[-1], wanted),
            arrowprops={"arrowstyle": "->", "color": INK, "linewidth": 1.0, "shrinkA": 3, "shrinkB": 1},
        )  # fmt: skip
        axes.annotate(
            f"{ratio:.2f} of the tokens", (reached, wanted), (-7, -1), textcoords="offset points", ha="right",
            va="center", fontsize=9,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(budgets)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda tokens, _: f"{tokens:.2g}"))
    axes.set_xlabel("million tokens trained on")
    axes.set_title("Held-out loss, nats a token")


def _sweep(axes: Axes, found: Mapping[str, Any]) -> None:
    rates = found["rates"]
    for kind, by_rate in found["sweep"].items():
        last = [by_rate[f"{rate:g}"][-1] for rate in rates]
        shown = [(rate, loss) for rate, loss in zip(rates, last, strict=True) if math.isfinite(loss)]
        axes.plot(*zip(*shown, strict=True), "o-", color=COLOURS[kind], linewidth=1.4, markersize=3.5)
        best = min(shown, key=lambda point: point[1])
        axes.plot(*best, "o", color=COLOURS[kind], markersize=7)
        above = kind == "adamw"
        axes.annotate(
            f"{NAMES[kind]} {best[1]:.2f}", best, (0, 9 if above else -11), textcoords="offset points",
            color=COLOURS[kind], fontweight="bold", ha="center", va="bottom" if above else "top",
        )  # fmt: skip
    heights = [
        loss for by_rate in found["sweep"].values() for losses in by_rate.values() for loss in losses[-1:]
    ]
    low, middle = min(heights), statistics.median(heights)
    axes.set_ylim(low - 0.35 * (middle - low + 0.05), min(max(heights), middle + 2 * (middle - low + 0.05)))
    axes.set_xscale("log")
    axes.set_xticks(rates)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:g}"))
    axes.set_xlabel("learning rate")
    axes.set_title(f"At {found['budget_tokens'][-1] / 1e6:.2g}M tokens, by learning rate")
