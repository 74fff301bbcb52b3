"""What a long experiment is told beside the settings: where its files go, and whether a minute must do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ..errors import EvaluationError

DEFAULT_OUT = Path("bench-out")


@dataclass(frozen=True)
class Experiment:
    """`out` gets the cache of finished runs and the figures; `quick` is a small run that proves the command, not the claim."""

    out: Path
    quick: bool = False
    plots: bool = True
    say: Callable[[str], None] = lambda _: None

    def __post_init__(self) -> None:
        if self.plots and find_spec("matplotlib") is None:
            raise EvaluationError(
                "matplotlib, which draws the figures, is not installed.",
                "Install it with: pip install 'suresql[plots]', or leave the figures out with --no-plots.",
            )
