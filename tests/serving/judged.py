"""Predictions as `suresql eval` writes them, whose likelihood tells right from wrong: what tests fit a calibration on."""

import random
from pathlib import Path

from serving.predictions import Judged


def write_judged(path: Path, seed: int, count: int = 80, databases: int = 4) -> Path:
    """`count` lines on as many databases, right where their one signal is above a half; the file."""
    dice = random.Random(seed)
    lines = []
    for i in range(count):
        value = dice.random()
        signals = [{"name": "likelihood", "value": value, "ms": 0.0, "note": "", "cost": 0}]
        lines.append(
            Judged(i, "SELECT 1", value, signals, value > 0.5, f"d{i % databases}", False, None).line()
        )
    path.write_text("".join(lines))
    return path
