"""The experiments' figures in one manner: few colours with the optimizers' names beside their lines, no frame, small SVG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = {"adamw": "#8a8f98", "muon": "#d9772b", "muonclip": "#14637a"}
INK, FAINT = "#22262b", "#d5d8dc"

_STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#eceef0",
    "xtick.color": "#5b6168",
    "ytick.color": "#5b6168",
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "axes.axisbelow": True,
    "svg.hashsalt": "suresql",  # the same data make the same file
    "svg.fonttype": "path",
}


def panels(count: int, width: float = 8.4, height: float = 3.4) -> tuple[Figure, list[Axes]]:
    """A figure with `count` panels in a row, in the house's style."""
    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(1, count, figsize=(width, height), squeeze=False)
    return figure, list(axes[0])


def save(figure: Figure, path: Path) -> str:
    """Write the figure as SVG and as a PNG of the same name; the SVG's name is returned."""
    with plt.rc_context(_STYLE):
        figure.tight_layout(w_pad=2.5)
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
        figure.savefig(path.with_suffix(".png"), dpi=130)
    plt.close(figure)
    return path.with_suffix(".svg").name


def chunks(values: Sequence[float], points: int = 90) -> tuple[list[int], list[Sequence[float]]]:
    """At most `points` runs of neighbouring values, and the index of each one's last: what a small figure can show."""
    width = max(1, -(-len(values) // points))
    parts = [values[start : start + width] for start in range(0, len(values), width)]
    return [min(start + width, len(values)) - 1 for start in range(0, len(values), width)], parts
