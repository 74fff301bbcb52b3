"""Figure of `bench stability`: the largest logit by step, and the loss by step."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from .figure import COLOURS, INK, chunks, panels, save
from .short_run import NAMES


def draw(runs: Mapping[Any, Sequence[Mapping[str, Any]]], tau: float, folder: Path) -> list[str]:
    """`stability.svg` in `folder`: every seed's run as a line, the first one's strong, with its optimizer's name.

    Of neighbouring steps the largest logit is shown, and the mean loss.
    """
    figure, (logits, loss) = panels(2)
    ends: dict[str, tuple[float, float]] = {}
    lowest, highest, steps = float("inf"), 0.0, 1
    for kind, some in runs.items():
        for number, one in enumerate(some):
            look: dict[str, Any] = {
                "color": COLOURS[kind],
                "linewidth": 1.2,
                "alpha": 1.0 if number == 0 else 0.4,
            }
            at, largest = chunks([max(heads) for heads in one["max_logit_H"]])
            logits.plot(at, [max(part) for part in largest], **look)
            _, parts = chunks(one["loss"])
            means = [statistics.fmean(part) for part in parts]
            loss.plot(at, means, **look)
            steps, lowest = at[-1], min(lowest, *means)
            highest = max(highest, means[len(means) // 20])
            if number == 0:
                ends[kind] = max(largest[-1]), statistics.fmean(means[-len(means) // 10 :])
    logits.set_yscale("log")
    logits.axhline(tau, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    logits.text(steps * 0.99, tau * 0.8, f"tau = {tau:g}", fontsize=9, ha="right", va="top")
    loss.set_ylim(lowest - 0.1, highest + 0.2)
    logits.set_title("Largest attention logit of any head")
    loss.set_title("Training loss, nats a token")
    for axes in (logits, loss):
        axes.set_xlabel("step")
        axes.set_xlim(0, steps)
    for kind, (logit, _) in ends.items():
        _name(logits, kind, steps, logit)
    gap, previous = 0.075 * (highest + 0.3 - lowest), float("-inf")
    for kind in sorted(ends, key=lambda kind: ends[kind][1]):  # names apart where curves end close together
        previous = max(ends[kind][1], previous + gap)
        _name(loss, kind, steps, previous)
    return [save(figure, folder / "stability")]


def _name(axes: Axes, kind: str, steps: int, height: float) -> None:
    axes.annotate(
        NAMES[kind], (steps, height), (6, 0), textcoords="offset points", color=COLOURS[kind], va="center",
        fontweight="bold", annotation_clip=False,
    )  # fmt: skip
