"""Execution accuracy and confidence on Spider's development questions, on databases that training never saw."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

from ..assembly import load_pipeline
from ..errors import EvaluationError
from ..evaluation import evaluate
from ..settings import Settings

QUESTIONS, SEED = 300, 1


def run(settings: Settings) -> dict[str, Any]:
    """The metrics of `suresql eval` on 300 questions, drawn with a seed. A development set: not for claims."""
    if settings.data is None:
        raise EvaluationError(
            "Spider's questions are not in this package.", "Set SURESQL_DATA to the folder of the data sets."
        )
    root = settings.data / "spider"
    lines = (root / "dev.jsonl").read_text(encoding="utf-8").splitlines()
    chosen = random.Random(SEED).sample(lines, min(QUESTIONS, len(lines)))
    with tempfile.TemporaryDirectory() as name:
        questions = Path(name) / "questions.jsonl"
        questions.write_text("\n".join(chosen), encoding="utf-8")
        return evaluate(
            load_pipeline(settings), questions, root / "databases", Path(name) / "predictions.jsonl"
        )
