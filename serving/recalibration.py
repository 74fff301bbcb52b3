"""Answers to calibration questions, made for the weights that are there: what `suresql calibrate --data` fits on."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from corpus import held_out
from corpus.errors import CorpusError

from .errors import EvaluationError
from .evaluation import Progress, evaluate
from .kept_answers import answers_key, can_be_kept
from .settings import Settings

if TYPE_CHECKING:
    from .pipeline import Pipeline

log = logging.getLogger(__name__)
SPIDER, AUTHORED, DEMO, SEED = 600, 500, 400, 1
"""Questions on databases of Spider's training part and on authored ones that training leaves out, and of the demo's
calibration split.
"""


def calibration_answers(settings: Settings, data: Path, progress: Progress | None = None) -> list[Path]:
    """Files of judged answers, all signals measured, under the settings' home; what `kept_answers` lets stand is not made
    again. Raises EvaluationError.
    """
    folder = settings.home / "calibration" / answers_key(settings)
    try:
        questions = [
            held_out.write_spider_calibration(folder / "spider", data, SPIDER, SEED),
            held_out.write_authored_calibration(folder / "authored", AUTHORED, SEED),
            held_out.write_demo(folder / "demo", "calibration", DEMO, SEED),
        ]
    except (CorpusError, OSError) as error:
        raise EvaluationError(f"The calibration questions cannot be written: {error}") from error
    pipeline = measuring_all(settings, folder)
    found = []
    for file in questions:
        out = file.with_name("predictions.jsonl")
        evaluate(pipeline, file, file.parent, out, resume=can_be_kept(settings), progress=progress)
        found.append(out)
    return found


def measuring_all(settings: Settings, folder: Path) -> Pipeline:
    """The pipeline with every signal there is, none given up on for its time, before any calibration: `folder` holds none."""
    from .assembly import load_pipeline

    update = {
        "profile": "thorough",
        "fusion": folder / "none.json",
        "precision": None,
        "signal_limit_s": 600.0,
    }
    return load_pipeline(settings.model_copy(update=update))
