"""Weights that make one probability of several signals, and how they are fitted.

Logistic regression over standardised signals, with an indicator for each signal that can be missing (multivariate Platt
scaling, arXiv 2505.23804). No signal counts against what it says, since each is a reading for which higher means likelier
right: signals that say nearly the same then share a weight instead of a plus and a minus, and one that is worth nothing gets
none. How strongly weights are held down, whether readings are taken as they are or as log-odds, and, of MIN_ISOTONIC answers
or more, whether isotonic regression comes on top, is chosen by the Brier score on held-out folds. Folds follow the groups
(databases), so no figure here was measured on a database that the measured fit had seen; a group with more answers than
others counts no more than twice the middle one.

N answers, F signals, P parameters, G groups, M answers of a fold, K knots.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression
from sklearn.model_selection import GroupKFold, StratifiedKFold

Floats = NDArray[np.float64]
FOLDS = 5
FAR = 10.0  # standard deviations; a reading further out says no more than this
EDGE = 1e-4  # a reading nearer to 0 or 1 counts as this in log-odds
STRENGTHS = (0.003, 0.03, 0.3)  # of the pull on weights towards 0, for each answer
MIN_ISOTONIC = 2_000
"""Answers from which isotonic steps are tried: of fewer they overfit (Niculescu-Mizil and Caruana, ICML 2005), and their ties
lose order: on databases left out 0.01 to 0.02 of AUROC, for a Brier score within chance.
"""
RIDGE = 1e-3  # pull on the slope of Platt's scaling, lest it grow without end where all is told apart


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


def choose(
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
            weights = weigh(x_NF[train_M], y_N[train_M], inner_group_M, choice, seed)
            p_N[test_M] = weights.probability(x_NF[test_M])
    share_N = _shares(len(y_N), group_N)
    briers = {choice: float(share_N @ (p_N - y_N) ** 2) for choice, p_N in held_out.items()}
    best = min(briers, key=lambda choice: briers[choice])
    return best, held_out[best], briers


def weigh(
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
