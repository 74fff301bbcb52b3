"""From judged predictions to the fusion that turns signals into a probability, bound to the weights."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlconf.errors import ConfidenceError
from sqlconf.fusion import Fusion

from .errors import CheckpointError, EvaluationError
from .evaluation import read_predictions


def calibrate(
    predictions: Sequence[str | Path], out: str | Path, checkpoint: str | Path | None = None
) -> dict[str, Any]:
    """Fit on all lines that have SQL, save to `out`, and return the metrics of its held-out folds.

    What is saved names the weights of `checkpoint`, where it is given, and is of use with those alone.
    Folds follow the databases where there are several. Raises EvaluationError if there is too little.
    """
    judged = [one for path in predictions for one in read_predictions(path) if one.sql]
    model = None if checkpoint is None else weights_digest(checkpoint)
    databases = [one.db_id for one in judged]
    readings = [{signal["name"]: signal["value"] for signal in one.signals} for one in judged]
    try:
        fusion = Fusion.fit(
            readings, [bool(one.correct) for one in judged], databases if len(set(databases)) > 1 else None
        )
        replace(fusion, model=model).save(Path(out))
    except ConfidenceError as error:
        raise EvaluationError(f"The confidence cannot be fitted: {error}") from error
    return fusion.metrics


def weights_digest(checkpoint: str | Path) -> str:
    """SHA-256 over the checkpoint's *.safetensors files, in the order of their names."""
    digest = hashlib.sha256()
    try:
        files = sorted(Path(checkpoint).glob("*.safetensors"))
        for path in files:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    except OSError as error:
        raise CheckpointError(f"The weights in {checkpoint} cannot be read: {error.strerror}.") from error
    if not files:
        raise CheckpointError(
            f"There are no weights (*.safetensors) in {checkpoint}.",
            "Name the model that made the predictions with --checkpoint.",
        )
    return digest.hexdigest()
