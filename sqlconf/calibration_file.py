"""A fitted confidence as a JSON file that a person can read: no code in it, a digest over it, written whole
or not at all.
"""

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from sqlconf.errors import ConfidenceError
from sqlconf.guarantee import Promise

FORMAT = "suresql-calibration/1"


class CalibrationFile(BaseModel):
    """What the file must hold."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    signals: list[str]
    weights: dict[str, Any]
    n: int
    date: str
    metrics: dict[str, Any]
    model: str | None = None
    promises: list[Promise] = []

    @model_validator(mode="after")
    def _promises_are_shares(self) -> Self:
        for one in self.promises:
            if not (0 < one.precision < 1 and 0 < one.delta < 1 and 0 <= one.coverage <= 1):
                raise ValueError("a promise's precision, delta or coverage is no share")
            if one.threshold is not None and not 0 <= one.threshold <= 1:
                raise ValueError("a promise's threshold is not in 0..1")
        return self

    @model_validator(mode="after")
    def _weights_fit_signals(self) -> Self:
        lists = ("centre", "scale", "coefficient", "missing_coefficient")
        if set(self.weights) != {*lists, "intercept", "isotonic"}:
            raise ValueError(f"weights holds {sorted(self.weights)}")
        for name in lists:
            if not _numbers(self.weights[name]) or len(self.weights[name]) != len(self.signals):
                raise ValueError(f"weights.{name} is not one number for each of {len(self.signals)} signals")
        if not all(step > 0 for step in self.weights["scale"]) or not _numbers([self.weights["intercept"]]):
            raise ValueError("a scale is not above 0, or the intercept is not a number")
        knots = self.weights["isotonic"]
        if not isinstance(knots, list) or not all(
            isinstance(knot, list) and len(knot) == 2 and _numbers(knot) for knot in knots
        ):
            raise ValueError("weights.isotonic is not a list of pairs of numbers")
        if any(not 0 <= part <= 1 for knot in knots for part in knot) or any(
            a[0] > b[0] or a[1] > b[1] for a, b in pairwise(knots)
        ):
            raise ValueError("weights.isotonic does not rise within 0..1")
        return self


def write_calibration(
    path: Path,
    signals: Sequence[str],
    weights: Mapping[str, Any],
    n: int,
    date: str,
    metrics: Mapping[str, Any],
    model: str | None = None,
    promises: Sequence[Promise] = (),
) -> None:
    """`model` names the weights whose answers the fit is of, where the caller knows; `promises`, the thresholds that
    hold for its confidences.
    """
    body = {"signals": signals, "weights": weights, "n": n, "date": date, "metrics": metrics}
    if model is not None:
        body["model"] = model
    if promises:
        body["promises"] = [vars(one) for one in promises]
    body = json.loads(json.dumps(body, allow_nan=False))
    text = json.dumps({"format": FORMAT, "digest": _digest(body), **body}, indent=2) + "\n"
    beside: Path | None = None
    try:
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            beside = Path(file.name)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.chmod(0o644)
        beside.replace(path)
    except OSError as error:
        if beside is not None:
            beside.unlink(missing_ok=True)
        raise ConfidenceError(f"{path} cannot be written: {error.strerror}; what was there stays") from error


def read_calibration(path: Path) -> CalibrationFile:
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfidenceError(
            f"{path} cannot be read: {error.strerror}; fit and save a calibration first"
        ) from error
    except ValueError as error:
        raise ConfidenceError(f"{path} is not JSON: {error}; fit again") from error
    if not isinstance(body, dict) or body.pop("format", None) != FORMAT:
        raise ConfidenceError(f"{path} is not a calibration of the format {FORMAT}; fit again")
    if body.pop("digest", None) != _digest(body):
        raise ConfidenceError(
            f"{path} was changed or cut after it was written (its digest differs); fit again"
        )
    try:
        return CalibrationFile.model_validate(body)
    except ValidationError as error:
        raise ConfidenceError(
            f"{path} is no sound calibration: {error.errors()[0]['msg']}; fit again"
        ) from error


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _numbers(items: Any) -> bool:
    return isinstance(items, list) and all(
        isinstance(item, int | float) and not isinstance(item, bool) and math.isfinite(item) for item in items
    )
