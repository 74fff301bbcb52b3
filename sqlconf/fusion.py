"""Several signals made into one probability that an answer is right, fitted on questions with known answers.

Logistic regression over standardised signals, with an indicator for each signal that can be missing (multivariate Platt
scaling, arXiv 2505.23804). No signal counts against what it says, since each is a reading for which higher means likelier
right: signals that say nearly the same then share a weight instead of a plus and a minus, and one that is worth nothing gets
none, is dropped, and need not be measured. How strongly weights are held down, whether readings are taken as they are or as
log-odds, and, of MIN_ISOTONIC answers or more, whether isotonic regression comes on top, is chosen by the Brier score on
held-out folds. Folds follow the groups (databases), so no figure here was measured on a database that the measured fit had
seen; a group with more answers than others counts no more than twice the middle one.

A group with many labels of its own gets a fit of its own (`Fusion.of`): a database that is known needs no caution about those
that are not. Its held-out figures are of questions left out, within it. The fit for all then learns from the other groups, if
they are enough: they are likelier to be like one that nobody has labelled.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression
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
EDGE = 1e-4  # a reading nearer to 0 or 1 counts as this in log-odds
STRENGTHS = (0.003, 0.03, 0.3)  # of the pull on weights towards 0, for each answer
NONE = 1e-4  # a weight under it is none
MIN_ISOTONIC = 2_000
"""Answers from which isotonic steps are tried: of fewer they overfit (Niculescu-Mizil and Caruana, ICML 2005), and their ties
lose order: on databases left out 0.01 to 0.02 of AUROC, for a Brier score within chance.
"""
RIDGE = 1e-3  # pull on the slope of Platt's scaling, lest it grow without end where all is told apart
MIN_KNOWN, MIN_KNOWN_OF_EACH = 100, 10
"""Answers, and right and wrong ones among them, from which on a group gets a fit of its own."""


@dataclass(frozen=True)
class Choice:
    """How a fit is made."""

    strength: float
    log_odds: bool
    isotonic: bool


CHOICES = tuple(Choice(*one) for one in product(STRENGTHS, (False, True), (False, True)))


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
    log_odds: bool = False
    """Whether readings are turned into log-odds first."""

    def contributions(self, x_NF: Floats) -> Floats:
        """What each reading adds to the log-odds, [N, F]."""
        missing_NF = np.isnan(x_NF)
        x_NF = _transformed(x_NF, self.log_odds)
        with np.errstate(over="ignore"):
            z_NF = np.clip((x_NF - np.array(self.centre)) / np.array(self.scale), -FAR, FAR)
        z_NF = np.where(missing_NF, 0.0, z_NF)
        found_NF: Floats = z_NF * np.array(self.coefficient) + missing_NF * np.array(self.missing_coefficient)
        return found_NF

    def probability(self, x_NF: Floats) -> Floats:
        """NaN is a missing signal: it counts as average, plus its missing coefficient."""
        logit_N = self.contributions(x_NF).sum(axis=1)
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
    known: Mapping[str, "Fusion"] = field(default_factory=dict)
    """Fits of groups with many answers, by group; of the same signals."""
    dropped: tuple[str, ...] = ()
    """What was tried and is worth nothing beside the others: it need not be measured."""

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
        choices: Sequence[Choice] = CHOICES,
    ) -> "Fusion":
        """Fit on answers known to be right or wrong; `groups` names each answer's database, and `choices` are the ways of
        fitting that the best is picked of.
        """
        y_N = _checked(readings, correct, groups)
        signals = tuple(sorted(set().union(*readings)))
        x_NF = _matrix(readings, signals)
        if np.isnan(x_NF).all():
            raise ConfidenceError("no signal has a value on any row; look at the readings' notes for why")
        group_N = None if groups is None else np.asarray(groups, dtype=object)

        own_names = _known_groups(y_N, groups or ())
        rest_N = _for_all(group_N, y_N, own_names)
        rest_group_N = None if group_N is None else group_N[rest_N]
        choice, found_N, briers = _choose(x_NF[rest_N], y_N[rest_N], rest_group_N, seed, choices)
        weights = _weigh(x_NF[rest_N], y_N[rest_N], rest_group_N, choice, seed)
        held_out_N = weights.probability(x_NF)
        held_out_N[rest_N] = found_N
        date = datetime.now(UTC).isoformat(timespec="seconds")
        fusion = _pruned(cls(signals, weights, len(y_N), date))
        known = {}
        for name in own_names:
            own_N = np.asarray(groups, dtype=object) == name
            rows = [row for row, own in zip(readings, own_N, strict=True) if own]
            found_own = _fit_known(fusion, rows, y_N[own_N], seed, choices)
            if found_own is not None:
                known[name], held_out_N[own_N] = found_own
        found = metrics.report(held_out_N.tolist(), y_N.tolist())
        found |= {
            "brier_platt": min((brier for one, brier in briers.items() if not one.isotonic), default=None),
            "brier_isotonic": min((brier for one, brier in briers.items() if one.isotonic), default=None),
            "chosen": dict(vars(choice)),
            "groups": None if groups is None else len(set(groups)),
        }
        return replace(fusion, metrics=found, known=known)

    def of(self, group: str) -> "Fusion":
        """The fit for a group: its own if there is one, else the one for all."""
        return self.known.get(group, self)

    def probability(self, readings: Sequence[Readings]) -> list[float]:
        """One number in 0..1 per answer. A signal that a row lacks is missing; one that the fit gave no weight is not
        looked at; one that it never saw is an error.
        """
        if not readings:
            return []
        if self.weights is None:
            return [_mean(row) for row in readings]
        if unknown := sorted(set().union(*readings) - {*self.signals, *self.dropped}):
            raise ConfidenceError(
                f"the fit knows {', '.join(self.signals)}, not {', '.join(unknown)}; "
                "fit again with the present signals"
            )
        p_N = self.weights.probability(_matrix(readings, self.signals))
        return [float(p) for p in np.clip(p_N, 0.0, 1.0)]

    def contributions(self, readings: Readings) -> dict[str, float]:
        """What each signal adds to the log-odds, less what it adds on the average; none of an unfitted one."""
        if self.weights is None:
            return {}
        parts = self.weights.contributions(_matrix([readings], self.signals))
        return dict(zip(self.signals, parts[0].tolist(), strict=True))

    def save(self, path: Path) -> None:
        """Write as JSON, whole or not at all: on any error the file that was there stays."""
        if self.weights is None:
            raise ConfidenceError("an unfitted confidence has nothing to save; call Fusion.fit first")
        write_calibration(
            path,
            self.signals,
            vars(self.weights),
            self.n,
            self.date,
            self.metrics,
            self.model,
            self.promises,
            {
                name: {
                    "weights": vars(one.weights),
                    "n": one.n,
                    "metrics": one.metrics,
                    "promises": one.promises,
                }
                for name, one in self.known.items()
            },
            self.dropped,
        )

    @classmethod
    def load(cls, path: Path, signals: Collection[str] | None = None) -> "Fusion":
        """Read what `save` wrote; `signals`, if given, are those that will be measured, and must be those
        of the fit.
        """
        found = read_calibration(path)
        fitted = {*found.signals, *found.dropped}
        if signals is not None and set(signals) != fitted:
            raise ConfidenceError(
                f"{path} was fitted on {', '.join(sorted(fitted))}; "
                f"what is measured now is {', '.join(sorted(signals))}; "
                "fit again, or measure the same signals"
            )
        signal_names = tuple(found.signals)
        known = {
            name: cls(
                signal_names,
                _weights(one.weights),
                one.n,
                found.date,
                one.metrics,
                found.model,
                tuple(one.promises),
                dropped=tuple(found.dropped),
            )
            for name, one in found.known.items()
        }
        return cls(
            signal_names,
            _weights(found.weights),
            found.n,
            found.date,
            found.metrics,
            found.model,
            tuple(found.promises),
            known,
            tuple(found.dropped),
        )


def _weights(parts: Mapping[str, Any]) -> Weights:
    found: dict[str, Any] = {
        name: tuple(part) if isinstance(part, list) else part for name, part in parts.items()
    }
    found["isotonic"] = tuple((before, after) for before, after in found["isotonic"])
    return Weights(**found)


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


def _transformed(x_NF: Floats, log_odds: bool) -> Floats:
    if not log_odds:
        return x_NF
    inside_NF = np.clip(x_NF, EDGE, 1 - EDGE)
    found_NF: Floats = np.log(inside_NF / (1 - inside_NF))
    return found_NF


def _choose(
    x_NF: Floats,
    y_N: NDArray[np.bool_],
    group_N: NDArray[np.object_] | None,
    seed: int,
    choices: Sequence[Choice],
) -> tuple[Choice, Floats, dict[Choice, float]]:
    """The choice with the lowest Brier score on held-out folds, its probabilities there, and all scores."""
    smooth = [choice for choice in choices if not choice.isotonic]
    choices = smooth if smooth and len(y_N) < MIN_ISOTONIC else choices
    held_out = {choice: np.full(len(y_N), y_N.mean()) for choice in choices}
    for train_M, test_M in _folds(y_N, group_N, seed):
        inner_group_M = None if group_N is None else group_N[train_M]
        for choice, p_N in held_out.items():
            weights = _weigh(x_NF[train_M], y_N[train_M], inner_group_M, choice, seed)
            p_N[test_M] = weights.probability(x_NF[test_M])
    share_N = _shares(len(y_N), group_N)
    briers = {choice: float(share_N @ (p_N - y_N) ** 2) for choice, p_N in held_out.items()}
    best = min(briers, key=lambda choice: briers[choice])
    return best, held_out[best], briers


def _known_groups(y_N: NDArray[np.bool_], groups: Sequence[str]) -> list[str]:
    """The groups with enough answers for a fit of their own."""
    right: dict[str, list[bool]] = {}
    for name, one in zip(groups, y_N, strict=False):
        right.setdefault(name, []).append(bool(one))
    return [
        name
        for name, own in sorted(right.items())
        if len(own) >= MIN_KNOWN and min(sum(own), len(own) - sum(own)) >= MIN_KNOWN_OF_EACH
    ]


def _for_all(
    group_N: NDArray[np.object_] | None, y_N: NDArray[np.bool_], own_names: Sequence[str]
) -> NDArray[np.bool_]:
    """Which answers the fit for all learns from: those of groups without a fit of their own, where they are enough."""
    everything_N = np.ones(len(y_N), dtype=np.bool_)
    if group_N is None or not own_names:
        return everything_N
    rest_N = ~np.isin(group_N, list(own_names))
    right = int(y_N[rest_N].sum())
    few = min(right, int(rest_N.sum()) - right) < MIN_KNOWN_OF_EACH or rest_N.sum() < MIN_KNOWN
    return everything_N if few or len(set(group_N[rest_N])) < FOLDS else rest_N


def _fit_known(
    fusion: Fusion, rows: Sequence[Readings], y_N: NDArray[np.bool_], seed: int, choices: Sequence[Choice]
) -> tuple[Fusion, Floats] | None:
    """A group's own fit on the signals of the fit of all, and its held-out probabilities; None without any value."""
    x_NF = _matrix(rows, fusion.signals)
    if np.isnan(x_NF).all():
        return None
    choice, held_out_N, _ = _choose(x_NF, y_N, None, seed, choices)
    found = metrics.report(held_out_N.tolist(), y_N.tolist()) | {"chosen": dict(vars(choice))}
    weights = _weigh(x_NF, y_N, None, choice, seed)
    own = Fusion(fusion.signals, weights, len(y_N), fusion.date, found, dropped=fusion.dropped)
    return own, held_out_N


def _pruned(fusion: Fusion) -> Fusion:
    """Without the signals that got no weight, not even for being missing; one stays in any case."""
    weights = fusion.weights
    assert weights is not None
    size_F = np.maximum(np.abs(weights.coefficient), np.abs(weights.missing_coefficient))
    keep = [i for i, size in enumerate(size_F) if size > NONE] or [int(size_F.argmax())]
    parts: dict[str, Any] = {
        name: tuple(getattr(weights, name)[i] for i in keep)
        for name in ("centre", "scale", "coefficient", "missing_coefficient")
    }
    dropped = tuple(name for i, name in enumerate(fusion.signals) if i not in keep)
    kept = tuple(fusion.signals[i] for i in keep)
    return replace(fusion, signals=kept, weights=replace(weights, **parts), dropped=dropped)


def _weigh(
    x_NF: Floats, y_N: NDArray[np.bool_], group_N: NDArray[np.object_] | None, choice: Choice, seed: int
) -> Weights:
    """Weights whose direction is of all answers, and whose scale is of held-out folds: Platt's (a slope and a shift, which
    undoes what the pull towards 0 took off all of them alike), or isotonic steps.
    """
    plain = _logistic(x_NF, y_N, group_N, choice)
    folds = _folds(y_N, group_N, seed)
    if not folds or y_N.all() or not y_N.any():
        return plain
    logit_N = np.empty(len(y_N))
    for train_M, test_M in folds:
        inner_group_M = None if group_N is None else group_N[train_M]
        part = _logistic(x_NF[train_M], y_N[train_M], inner_group_M, choice)
        logit_N[test_M] = part.contributions(x_NF[test_M]).sum(axis=1) + part.intercept
    if not choice.isotonic:
        slope, shift = _minimum(logit_N[:, None], y_N, _shares(len(y_N), group_N), RIDGE, 1)
        return replace(
            plain,
            coefficient=tuple(float(slope) * one for one in plain.coefficient),
            missing_coefficient=tuple(float(slope) * one for one in plain.missing_coefficient),
            intercept=float(slope * plain.intercept + shift),
        )
    floor = 1 / (len(y_N) + 2)  # no finite sample shows that nothing can go wrong
    steps = IsotonicRegression(y_min=floor, y_max=1 - floor, out_of_bounds="clip").fit(expit(logit_N), y_N)
    knots = zip(steps.X_thresholds_.tolist(), steps.y_thresholds_.tolist(), strict=True)
    return replace(plain, isotonic=tuple(knots))


def _logistic(
    x_NF: Floats, y_N: NDArray[np.bool_], group_N: NDArray[np.object_] | None, choice: Choice
) -> Weights:
    missing_NF = np.isnan(x_NF)
    x_NF = _transformed(x_NF, choice.log_odds)
    F = x_NF.shape[1]
    known_F = ~missing_NF.all(axis=0)
    centre_F, scale_F = np.zeros(F), np.ones(F)
    centre_F[known_F] = np.nanmean(x_NF[:, known_F], axis=0)
    scale_F[known_F] = np.nanstd(x_NF[:, known_F], axis=0)
    scale_F[scale_F < 1e-9] = 1.0
    right = int(y_N.sum())
    if right in (0, len(y_N)):  # a fold of one class: its base rate, kept off 0 and 1
        rate = (right + 1) / (len(y_N) + 2)
        found_P = np.append(np.zeros(2 * F), math.log(rate / (1 - rate)))
    else:
        z_NF = np.where(missing_NF, 0.0, np.clip((x_NF - centre_F) / scale_F, -FAR, FAR))
        found_P = _minimum(np.hstack([z_NF, missing_NF]), y_N, _shares(len(y_N), group_N), choice.strength, F)
    return Weights(
        centre=tuple(centre_F.tolist()),
        scale=tuple(scale_F.tolist()),
        coefficient=tuple(found_P[:F].tolist()),
        missing_coefficient=tuple(found_P[F : 2 * F].tolist()),
        intercept=float(found_P[-1]),
        log_odds=choice.log_odds,
    )


def _minimum(z_NP: Floats, y_N: NDArray[np.bool_], share_N: Floats, strength: float, signals: int) -> Floats:
    """Weights and intercept of the least mean loss with a pull towards 0; the first `signals` weights not negative."""
    sign_N = np.where(y_N, 1.0, -1.0)

    def loss(w_P: Floats) -> tuple[float, Floats]:
        margin_N = sign_N * (z_NP @ w_P[:-1] + w_P[-1])
        slope_N = -sign_N * expit(-margin_N) * share_N
        value = float(share_N @ np.logaddexp(0, -margin_N) + strength / 2 * w_P[:-1] @ w_P[:-1])
        return value, np.append(z_NP.T @ slope_N + strength * w_P[:-1], slope_N.sum())

    free = z_NP.shape[1] - signals + 1
    bounds = [(0.0, None)] * signals + [(None, None)] * free
    found_P: Floats = minimize(
        loss, np.zeros(z_NP.shape[1] + 1), jac=True, method="L-BFGS-B", bounds=bounds
    ).x
    return found_P


def _shares(n: int, group_N: NDArray[np.object_] | None) -> Floats:
    """Each answer's share of the loss, summing to 1: a group counts at most twice what the middle one does."""
    if group_N is None:
        return np.full(n, 1 / n)
    _, which_N, size_G = np.unique(group_N.astype(str), return_inverse=True, return_counts=True)
    share_N = np.minimum(1.0, 2 * np.median(size_G) / size_G)[which_N]
    found_N: Floats = share_N / share_N.sum()
    return found_N
