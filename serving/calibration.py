"""From judged predictions to the fusion that turns signals into a probability, bound to the weights, and to the
thresholds that it promises a precision above.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlconf.errors import ConfidenceError
from sqlconf.fusion import Fusion
from sqlconf.guarantee import Promise, cross_fitted, no_promises, promises

from .errors import CheckpointError, EvaluationError
from .evaluation import Judged, read_predictions
from .settings import Settings

log = logging.getLogger(__name__)


def calibrate(
    predictions: Sequence[str | Path], out: str | Path, checkpoint: str | Path | None = None
) -> dict[str, Any]:
    """Fit on all lines that have SQL, save to `out`, and return the metrics of its held-out folds, and under
    "promises" the thresholds of `sqlconf.guarantee` that hold for further questions on the same databases.

    What is saved names the weights of `checkpoint`, where it is given, and is of use with those alone.
    The metrics' folds follow the databases where there are several; the promises' are of questions. Raises
    EvaluationError if there is too little.
    """
    judged = [one for path in predictions for one in read_predictions(path) if one.sql]
    model = None if checkpoint is None else weights_digest(checkpoint)
    databases = [one.db_id for one in judged]
    correct = [bool(one.correct) for one in judged]
    try:
        fusion = Fusion.fit(readings_of(judged), correct, databases if len(set(databases)) > 1 else None)
        table = promises_of(judged)
        replace(fusion, model=model, promises=table).save(Path(out))
    except ConfidenceError as error:
        raise EvaluationError(f"The confidence cannot be fitted: {error}") from error
    return {**fusion.metrics, "promises": [vars(one) for one in table]}


def promises_of(judged: Sequence[Judged]) -> tuple[Promise, ...]:
    """The table that a fit on `judged` is saved with; refusals where they are too few to cross-fit."""
    try:
        return promises(held_out_confidences(judged), [bool(one.correct) for one in judged])
    except ConfidenceError as error:
        return no_promises(len(judged), f"a fit without a tenth of the answers is not possible: {error}")


def readings_of(judged: Sequence[Judged]) -> list[dict[str, float | None]]:
    return [{signal["name"]: signal["value"] for signal in one.signals} for one in judged]


def held_out_confidences(judged: Sequence[Judged]) -> list[float]:
    """Each answer's confidence by a fit without it. Raises ConfidenceError where a part is too small to fit."""
    databases = [one.db_id for one in judged]
    return cross_fitted(Fusion.fit, readings_of(judged), [bool(one.correct) for one in judged], databases)


def abstain_threshold(settings: Settings, fusion: Fusion) -> float:
    """The confidence under which an answer abstains: the setting `abstain_below`, or, where a precision is set,
    what the calibration promises for it or the next higher in its table; infinite if that is nothing.
    """
    if settings.precision is None:
        return settings.abstain_below
    asked = f"A precision of {settings.precision:g} was asked for"
    enough = [one for one in fusion.promises if one.precision >= settings.precision]
    if not enough:
        known = ", ".join(f"{one.precision:g}" for one in fusion.promises)
        log.warning(
            "%s, and the calibration promises %s: every answer abstains. %s",
            asked,
            f"no more than {known}" if known else "none",
            "Set SURESQL_PRECISION to one of these." if known else "Run suresql calibrate.",
        )
        return math.inf
    promise = min(enough, key=lambda one: one.precision)
    if promise.threshold is None:
        log.warning("%s, which the labels do not support: every answer abstains; %s", asked, promise.note)
        return math.inf
    log.info("%s: answers under %.3f abstain; %s", asked, promise.threshold, promise.note)
    return promise.threshold


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
