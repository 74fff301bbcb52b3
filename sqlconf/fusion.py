"""Several signals made into one probability that an answer is right, fitted on questions with known answers.

The weights, and how they are fitted, are `sqlconf.weights`; here is what a caller has: a fit on labelled answers, its file, and
the probabilities that come of it. A signal that is worth nothing is dropped, and need not be measured.

A group with many labels of its own gets a fit of its own (`Fusion.of`): a database that is known needs no caution about those
that are not. Its held-out figures are of questions left out, within it. The fit for all then learns from the other groups, if
they are enough: they are likelier to be like one that nobody has labelled.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sqlconf import metrics
from sqlconf.calibration_file import read_calibration, write_calibration
from sqlconf.errors import ConfidenceError
from sqlconf.guarantee import Promise
from sqlconf.weights import CHOICES, FOLDS, Choice, Floats, Weights, choose, weigh

Readings = Mapping[str, float | None]

MIN_ROWS = 20
MIN_OF_EACH = 2
NONE = 1e-4  # a weight under it is none
MIN_KNOWN, MIN_KNOWN_OF_EACH = 100, 10
"""Answers, and right and wrong ones among them, from which on a group gets a fit of its own."""


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
        choice, found_N, briers = choose(x_NF[rest_N], y_N[rest_N], rest_group_N, seed, choices)
        weights = weigh(x_NF[rest_N], y_N[rest_N], rest_group_N, choice, seed)
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
        whole = cls(
            tuple(found.signals),
            _weights(found.weights),
            found.n,
            found.date,
            found.metrics,
            found.model,
            tuple(found.promises),
            dropped=tuple(found.dropped),
        )
        known = {
            name: replace(
                whole,
                weights=_weights(one.weights),
                n=one.n,
                metrics=one.metrics,
                promises=tuple(one.promises),
            )
            for name, one in found.known.items()
        }
        return replace(whole, known=known)


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
    choice, held_out_N, _ = choose(x_NF, y_N, None, seed, choices)
    found = metrics.report(held_out_N.tolist(), y_N.tolist()) | {"chosen": dict(vars(choice))}
    weights = weigh(x_NF, y_N, None, choice, seed)
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
