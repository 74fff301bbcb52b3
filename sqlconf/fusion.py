"""Several signals made into one probability that an answer is right, fitted on questions with known answers.

Logistic regression over standardised signals, with an indicator for each signal that can be missing
(multivariate Platt scaling, arXiv 2505.23804); then isotonic regression on top where that lowers the
Brier score on held-out folds. Folds follow the groups (databases), so no figure here was measured on a
database that the measured fit had seen.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, StratifiedKFold

from sqlconf import metrics
from sqlconf.calibration_file import read_calibration, write_calibration
from sqlconf.errors import ConfidenceError
from sqlconf.guarantee import Promise

Readings = Mapping[str, float | None]
Floats = NDArray[np.float64]

MIN_ROWS = 20
MIN_OF_EACH = 2
FOLDS = 5
FAR = 10.0  # standard deviations; a reading further out says no more than this


@dataclass(frozen=True)
class Weights:
    """What a fit comes to: enough to compute a probability by hand."""

    centre: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    coefficient: tuple[float, ...] = ()
    missing_coefficient: tuple[float, ...] = ()
    intercept: float = 0.0
    isotonic: tuple[tuple[float, float], ...] = ()
    """Knots (probability before, probability after), rising; none where isotonic regression did not pay."""

    def probability(self, x_NF: Floats) -> Floats:
        """NaN is a missing signal: it counts as average, plus its missing coefficient."""
        missing_NF = np.isnan(x_NF)
        with np.errstate(over="ignore"):
            z_NF = np.clip((x_NF - np.array(self.centre)) / np.array(self.scale), -FAR, FAR)
        z_NF = np.where(missing_NF, 0.0, z_NF)
        logit_N = z_NF @ np.array(self.coefficient) + missing_NF @ np.array(self.missing_coefficient)
        with np.errstate(over="ignore"):
            p_N: Floats = 1 / (1 + np.exp(-(logit_N + self.intercept)))
        if self.isotonic:
            before_K, after_K = np.array(self.isotonic).T
            p_N = np.interp(p_N, before_K, after_K)
        return p_N


@dataclass(frozen=True)
class Fusion:
    """Readings by signal name to probabilities. `fitted` is False for the plain mean of `unfitted()`."""

    signals: tuple[str, ...]
    weights: Weights | None
    n: int = 0
    date: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    """`metrics.report` of the held-out folds, and the Brier score of both calibrations."""
    model: str | None = None
    """Of the weights whose answers it was fitted on, a name that the caller gave, such as a digest."""
    promises: tuple[Promise, ...] = ()
    """The thresholds that the caller found to hold for its probabilities, with `sqlconf.guarantee`."""

    @property
    def fitted(self) -> bool:
        return self.weights is not None

    @classmethod
    def unfitted(cls, signals: Collection[str] = ()) -> "Fusion":
        """The mean of the signals there are: it ranks answers, roughly, and is not a probability of
        anything.
        """
        return cls(tuple(sorted(signals)), None)

    @classmethod
    def fit(
        cls,
        readings: Sequence[Readings],
        correct: Sequence[bool],
        groups: Sequence[str] | None = None,
        seed: int = 0,
    ) -> "Fusion":
        """Fit on answers known to be right or wrong; `groups` names each answer's database."""
        y_N = _checked(readings, correct, groups)
        signals = tuple(sorted(set().union(*readings)))
        x_NF = _matrix(readings, signals)
        if np.isnan(x_NF).all():
            raise ConfidenceError("no signal has a value on any row; look at the readings' notes for why")
        group_N = None if groups is None else np.asarray(groups, dtype=object)

        held_out = {isotonic: np.empty(len(y_N)) for isotonic in (False, True)}
        for train_M, test_M in _folds(y_N, group_N, seed):
            inner_group_M = None if group_N is None else group_N[train_M]
            for isotonic, p_N in held_out.items():
                weights = _weigh(x_NF[train_M], y_N[train_M], inner_group_M, isotonic, seed)
                p_N[test_M] = weights.probability(x_NF[test_M])
        brier = {isotonic: float(np.mean((p_N - y_N) ** 2)) for isotonic, p_N in held_out.items()}
        isotonic = brier[True] < brier[False]
        found = metrics.report(held_out[isotonic].tolist(), y_N.tolist())
        found |= {"brier_platt": brier[False], "brier_isotonic": brier[True]}
        found["groups"] = None if groups is None else len(set(groups))
        weights = _weigh(x_NF, y_N, group_N, isotonic, seed)
        date = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(signals, weights, len(y_N), date, found)

    def probability(self, readings: Sequence[Readings]) -> list[float]:
        """One number in 0..1 per answer. A signal that a row lacks is missing; one that the fit never saw
        is an error.
        """
        if not readings:
            return []
        if self.weights is None:
            return [_mean(row) for row in readings]
        if unknown := sorted(set().union(*readings) - set(self.signals)):
            raise ConfidenceError(
                f"the fit knows {', '.join(self.signals)}, not {', '.join(unknown)}; "
                "fit again with the present signals"
            )
        p_N = self.weights.probability(_matrix(readings, self.signals))
        return [float(p) for p in np.clip(p_N, 0.0, 1.0)]

    def save(self, path: Path) -> None:
        """Write as JSON, whole or not at all: on any error the file that was there stays."""
        if self.weights is None:
            raise ConfidenceError("an unfitted confidence has nothing to save; call Fusion.fit first")
        write_calibration(
            path, self.signals, vars(self.weights), self.n, self.date, self.metrics, self.model, self.promises
        )

    @classmethod
    def load(cls, path: Path, signals: Collection[str] | None = None) -> "Fusion":
        """Read what `save` wrote; `signals`, if given, are those that will be measured, and must be those
        of the fit.
        """
        found = read_calibration(path)
        if signals is not None and set(signals) != set(found.signals):
            raise ConfidenceError(
                f"{path} was fitted on {', '.join(found.signals)}; "
                f"what is measured now is {', '.join(sorted(signals))}; "
                "fit again, or measure the same signals"
            )
        weights: dict[str, Any] = {
            name: tuple(part) if isinstance(part, list) else part for name, part in found.weights.items()
        }
        weights["isotonic"] = tuple((before, after) for before, after in weights["isotonic"])
        return cls(
            tuple(found.signals),
            Weights(**weights),
            found.n,
            found.date,
            found.metrics,
            found.model,
            tuple(found.promises),
        )


def _checked(
    readings: Sequence[Readings], correct: Sequence[bool], groups: Sequence[str] | None
) -> NDArray[np.bool_]:
    if len(readings) != len(correct) or (groups is not None and len(groups) != len(correct)):
        given = f"{len(readings)} rows of readings, {len(correct)} of right or wrong"
        raise ConfidenceError(
            given + ("" if groups is None else f", {len(groups)} groups") + "; give one for each"
        )
    if len(readings) < MIN_ROWS:
        raise ConfidenceError(f"{len(readings)} answers are too few to fit on; label at least {MIN_ROWS}")
    y_N = np.asarray(correct, dtype=np.bool_)
    right, wrong = int(y_N.sum()), int((~y_N).sum())
    if min(right, wrong) < MIN_OF_EACH:
        raise ConfidenceError(
            f"{right} answers are right and {wrong} wrong; a fit needs at least {MIN_OF_EACH} of each, "
            f"so label {'easier' if right < wrong else 'harder'} questions too"
        )
    if groups is not None and len(set(groups)) < 2:
        raise ConfidenceError("all answers are of one group; add another database, or leave groups out")
    return y_N


def _matrix(readings: Sequence[Readings], signals: Sequence[str]) -> Floats:
    rows = [[_number(row.get(name)) for name in signals] for row in readings]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(signals))


def _number(value: float | None) -> float:
    return math.nan if value is None or not math.isfinite(value) else min(1e6, max(-1e6, float(value)))


def _mean(row: Readings) -> float:
    known = [min(1.0, max(0.0, value)) for value in map(_number, row.values()) if not math.isnan(value)]
    return sum(known) / len(known) if known else 0.0


def _folds(
    y_N: NDArray[np.bool_], group_N: NDArray[np.object_] | None, seed: int
) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    if group_N is not None:
        parts = min(FOLDS, len(set(group_N)))
        splitter = GroupKFold(parts, shuffle=True, random_state=seed) if parts > 1 else None
    else:
        parts = min(FOLDS, int(y_N.sum()), int((~y_N).sum()))
        splitter = StratifiedKFold(parts, shuffle=True, random_state=seed) if parts > 1 else None
    return list(splitter.split(y_N, y_N, group_N)) if splitter else []


def _weigh(
    x_NF: Floats, y_N: NDArray[np.bool_], group_N: NDArray[np.object_] | None, isotonic: bool, seed: int
) -> Weights:
    plain = _logistic(x_NF, y_N)
    folds = _folds(y_N, group_N, seed) if isotonic else []
    if not folds:
        return plain
    p_N = np.empty(len(y_N))
    for train_M, test_M in folds:
        p_N[test_M] = _logistic(x_NF[train_M], y_N[train_M]).probability(x_NF[test_M])
    floor = 1 / (len(y_N) + 2)  # no finite sample shows that nothing can go wrong
    steps = IsotonicRegression(y_min=floor, y_max=1 - floor, out_of_bounds="clip").fit(p_N, y_N)
    knots = zip(steps.X_thresholds_.tolist(), steps.y_thresholds_.tolist(), strict=True)
    return Weights(**{**vars(plain), "isotonic": tuple(knots)})


def _logistic(x_NF: Floats, y_N: NDArray[np.bool_]) -> Weights:
    missing_NF = np.isnan(x_NF)
    known_F = ~missing_NF.all(axis=0)
    centre_F, scale_F = np.zeros(x_NF.shape[1]), np.ones(x_NF.shape[1])
    centre_F[known_F] = np.nanmean(x_NF[:, known_F], axis=0)
    scale_F[known_F] = np.nanstd(x_NF[:, known_F], axis=0)
    scale_F[scale_F < 1e-9] = 1.0
    right = int(y_N.sum())
    if right in (0, len(y_N)):  # a fold of one class: its base rate, kept off 0 and 1
        rate = (right + 1) / (len(y_N) + 2)
        coefficient_2F, intercept = np.zeros(2 * x_NF.shape[1]), math.log(rate / (1 - rate))
    else:
        z_NF = np.where(missing_NF, 0.0, np.clip((x_NF - centre_F) / scale_F, -FAR, FAR))
        model = LogisticRegression(solver="newton-cholesky", max_iter=1000).fit(
            np.hstack([z_NF, missing_NF]), y_N
        )
        coefficient_2F, intercept = model.coef_[0], float(model.intercept_[0])
    coefficient_F, missing_F = np.split(coefficient_2F, 2)
    return Weights(
        centre=tuple(centre_F.tolist()),
        scale=tuple(scale_F.tolist()),
        coefficient=tuple(coefficient_F.tolist()),
        missing_coefficient=tuple(missing_F.tolist()),
        intercept=intercept,
    )
