"""From judged predictions to the fusion that turns signals into a probability."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlconf.errors import ConfidenceError
from sqlconf.fusion import Fusion

from .errors import EvaluationError
from .evaluation import read_predictions


def calibrate(predictions: Sequence[str | Path], out: str | Path) -> dict[str, Any]:
    """Fit on all lines that have SQL, save to `out`, and return the metrics of its held-out folds.

    Folds follow the databases where there are several. Raises EvaluationError if there is too little.
    """
    judged = [one for path in predictions for one in read_predictions(path) if one.sql]
    databases = [one.db_id for one in judged]
    readings = [{signal["name"]: signal["value"] for signal in one.signals} for one in judged]
    try:
        fusion = Fusion.fit(
            readings, [one.correct for one in judged], databases if len(set(databases)) > 1 else None
        )
        fusion.save(Path(out))
    except ConfidenceError as error:
        raise EvaluationError(f"The confidence cannot be fitted: {error}") from error
    return fusion.metrics
