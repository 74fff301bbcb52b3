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


class KnownGroup(BaseModel):
    """The fit of a group with many answers, on the file's signals."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    weights: dict[str, Any]
    n: int
    metrics: dict[str, Any]
    promises: list[Promise] = []


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
    known: dict[str, KnownGroup] = {}
    dropped: list[str] = []

    @model_validator(mode="after")
    def _promises_are_shares(self) -> Self:
        every = [*self.promises, *(one for group in self.known.values() for one in group.promises)]
        for one in every:
            if not (0 < one.precision < 1 and 0 < one.delta < 1 and 0 <= one.coverage <= 1):
                raise ValueError("a promise's precision, delta or coverage is no share")
            if one.threshold is not None and not 0 <= one.threshold <= 1:
                raise ValueError("a promise's threshold is not in 0..1")
        return self

    @model_validator(mode="after")
    def _weights_fit_signals(self) -> Self:
        for weights in (self.weights, *(one.weights for one in self.known.values())):
            _check_weights(weights, len(self.signals))
        return self


def _check_weights(weights: Mapping[str, Any], signals: int) -> None:
    """Raises ValueError for what is no set of weights for so many signals."""
    lists = ("centre", "scale", "coefficient", "missing_coefficient")
    if set(weights) - {"log_odds"} != {*lists, "intercept", "isotonic"}:
        raise ValueError(f"weights holds {sorted(weights)}")
    if not isinstance(weights.get("log_odds", False), bool):
        raise ValueError("weights.log_odds is neither true nor false")
    for name in lists:
        if not _numbers(weights[name]) or len(weights[name]) != signals:
            raise ValueError(f"weights.{name} is not one number for each of {signals} signals")
    if not all(step > 0 for step in weights["scale"]) or not _numbers([weights["intercept"]]):
        raise ValueError("a scale is not above 0, or the intercept is not a number")
    knots = weights["isotonic"]
    if not isinstance(knots, list) or not all(
        isinstance(knot, list) and len(knot) == 2 and _numbers(knot) for knot in knots
    ):
        raise ValueError("weights.isotonic is not a list of pairs of numbers")
    if any(not 0 <= part <= 1 for knot in knots for part in knot) or any(
        a[0] > b[0] or a[1] > b[1] for a, b in pairwise(knots)
    ):
        raise ValueError("weights.isotonic does not rise within 0..1")


def write_calibration(
    path: Path,
    signals: Sequence[str],
    weights: Mapping[str, Any],
    n: int,
    date: str,
    metrics: Mapping[str, Any],
    model: str | None = None,
    promises: Sequence[Promise] = (),
    known: Mapping[str, Mapping[str, Any]] | None = None,
    dropped: Sequence[str] = (),
) -> None:
    """`model` names the weights whose answers the fit is of, where the caller knows; `promises`, the thresholds that
    hold for its confidences.
    """
    body = {"signals": signals, "weights": weights, "n": n, "date": date, "metrics": metrics}
    if model is not None:
        body["model"] = model
    if promises:
        body["promises"] = [vars(one) for one in promises]
    if dropped:
        body["dropped"] = dropped
    if known:
        body["known"] = {
            name: {**one, "promises": [vars(promise) for promise in one["promises"]]}
            for name, one in known.items()
        }
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
