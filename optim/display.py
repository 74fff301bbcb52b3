"""What a run looks like on a terminal: one panel, redrawn in place."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

BARS = "▁▂▃▄▅▆▇█"
HISTORY = 48  # steps, or rather means of some, that the curve of the loss shows


class Display:
    """A live panel about a run of `total` steps, of which `start` were done before."""

    def __init__(self, console: Console, total: int, start: int) -> None:
        self.total, self.start, self.done = total, start, start
        self._began = time.perf_counter()
        self._entry: Mapping[str, Any] = {}
        self._losses: deque[float] = deque(maxlen=HISTORY)
        self._notes: dict[str, str] = {}
        self._live = Live(console=console, refresh_per_second=4, get_renderable=self.panel)

    def start_drawing(self) -> None:
        self._live.start()

    def stop_drawing(self) -> None:
        """Leave the last state on the screen."""
        self._live.stop()

    def step(self, done: int, entry: Mapping[str, Any]) -> None:
        """Show a step's numbers."""
        self.done, self._entry = done, entry
        self._losses.append(entry["loss"])

    def note(self, name: str, text: str) -> None:
        """Show a line of its own, until the next of its name."""
        self._notes[name] = text

    def panel(self) -> Panel:
        """The picture of now."""
        rows = Table.grid(padding=(0, 2))
        rows.add_column(style="dim", min_width=10)
        rows.add_column(ratio=1)
        for name, text in [*_lines(self._entry, self._losses), *self._notes.items()]:
            rows.add_row(name, text)
        bar = Table.grid(padding=(0, 2), expand=True)
        bar.add_column(ratio=1)
        bar.add_column(justify="right")
        bar.add_row(
            ProgressBar(self.total, self.done, complete_style="cyan", finished_style="green"), self._time()
        )
        title = f"[bold]training[/bold]  step {self.done:,} of {self.total:,}"
        return Panel(
            Group(bar, Text(), rows), title=title, title_align="left", border_style="dim", padding=(0, 2)
        )

    def _time(self) -> str:
        passed = time.perf_counter() - self._began
        steps = self.done - self.start
        if not steps:
            return f"{_clock(passed)} passed"
        return f"{_clock(passed)} passed, {_clock(passed / steps * (self.total - self.done))} left"


def _lines(entry: Mapping[str, Any], losses: deque[float]) -> list[tuple[str, Text | str]]:
    if not entry:
        return [("", "the first step")]
    lines: list[tuple[str, Text | str]] = [
        ("loss", Text.assemble((f"{entry['loss']:.4f}  ", "bold"), (curve(losses), "cyan"))),
        (
            "gradient",
            Text.assemble(f"norm {entry['grad_norm']:.3g}   rate {entry['lr']:.2e}", *_skipped(entry)),
        ),
        ("logits", Text.assemble(f"at most {entry['max_logit']:.1f}", *_clipped(entry))),
    ]
    if "expert_load" in entry:
        idle = entry["idle_experts"]
        text = Text(f"busiest has {entry['expert_load']:.2f} times an even share")
        text.append(f"   {idle} idle" if idle else "", "yellow")
        lines.append(("experts", text))
    speed = f"{entry['tokens_per_second']:,.0f} tokens/s"
    if entry.get("mfu"):
        speed += f"   {entry['mfu']:.1%} of the peak"
    return [*lines, ("speed", f"{speed}   {entry['seconds']:.2f} s a step")]


def _skipped(entry: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(f"   {entry['skipped']} skipped", "red")] if entry["skipped"] else []


def _clipped(entry: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(f"   {entry['clipped_heads']} heads clipped", "yellow")] if entry["clipped_heads"] else []


def curve(values: deque[float] | list[float]) -> str:
    """Numbers as bars between their least and their greatest; a gap where one is not finite."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    low, span = min(finite), (max(finite) - min(finite)) or 1.0
    return "".join(
        BARS[round((value - low) / span * (len(BARS) - 1))] if math.isfinite(value) else " "
        for value in values
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
