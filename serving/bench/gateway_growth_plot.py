"""The figure of gateway-growth: a panel for each of what grows."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from .figure import COLOURS, INK, panels, save

_TITLES = {
    "prompt_tokens": "tokens of the prompt (4 characters each)",
    "keys": "keys in use, each with limits",
    "replicas": "replicas",
}
ALLOWED_MS = 1.0


def draw(points: Mapping[str, Mapping[int, Sequence[float]]], path: Path) -> str:
    """CPU by prompt, keys and replicas; writes SVG and PNG and returns the SVG's name."""
    figure, axes = panels(len(points), width=9.6, height=3.2)
    top = max(value for found in points.values() for many in found.values() for value in many)
    for axis, (name, found) in zip(axes, points.items(), strict=True):
        sizes = list(found)
        for size, many in found.items():
            axis.plot([size] * len(many), many, ".", color=COLOURS["adamw"], markersize=4, zorder=2)
        axis.plot(
            sizes,
            [statistics.median(many) for many in found.values()],
            color=COLOURS["muonclip"],
            marker="o",
            markersize=4,
            zorder=3,
        )
        axis.axhline(ALLOWED_MS, color=COLOURS["muon"], linewidth=1, linestyle="--")
        axis.set_xscale("log", base=2 if name != "keys" else 10)
        axis.set_ylim(0, max(top, ALLOWED_MS) * 1.08)
        axis.set_title(_TITLES[name], color=INK)
    axes[0].set_ylabel("CPU of a request, ms")
    return save(figure, path)
