"""How much what rules find speaks for a statement, the weight of each trait fitted on right and wrong statements for other
questions on other databases.

A linear model of the traits (`sqlconf.traits`), so that each answer's reading can be taken apart: the note names the
traits that spoke most against it. It looks at no probability of the model that wrote the SQL and so says something else
than the likelihoods do, of any model's SQL alike.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GroupKFold

from sqlconf.coverage import Aligner, Alignment
from sqlconf.errors import ConfidenceError
from sqlconf.grounding import ContentsOf
from sqlconf.signal import Answer, Cost, Reading
from sqlconf.traits import traits

WEIGHTS = Path(__file__).with_name("evidence.json")
FAR = 6.0  # standard deviations; a trait further out says no more than this
NOTED, NOTABLE = 3, 0.3
"""Traits that a note names: so many, where each takes so much from the log-odds."""
NOTHING = 1e-4  # a weight below it is none
MIN_STATEMENTS = 200
STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.3)
"""Of the weights' freedom (scikit-learn's C), tried by leaving databases out."""
FOLDS = 5
Traits = Mapping[str, float]


class Trait(BaseModel):
    """One trait's mean and deviation among the statements fitted on, and what a deviation adds to the log-odds."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    centre: float
    scale: float = Field(gt=0)
    weight: float


class EvidenceWeights(BaseModel):
    """The fitted model, as its file holds it."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    statements: int
    questions: int
    databases: int
    strength: float
    held_out_log_loss: float
    intercept: float
    traits: dict[str, Trait]

    @classmethod
    def load(cls, path: Path = WEIGHTS) -> "EvidenceWeights":
        """Raises ConfidenceError."""
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeError) as error:
            raise ConfidenceError(f"{path} cannot be read: {error}; install again, or fit it anew") from error
        except ValidationError as error:
            raise ConfidenceError(
                f"{path} holds no weights of evidence: {error.errors()[0]['msg']}; fit it anew"
            ) from error

    def save(self, path: Path) -> None:
        body = self.model_dump()
        path.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")

    def contributions(self, found: Traits) -> dict[str, float]:
        """What each trait adds to the log-odds; one that is missing adds nothing, one that is unknown is not looked at."""
        return {
            name: one.weight * float(np.clip((found[name] - one.centre) / one.scale, -FAR, FAR))
            for name, one in self.traits.items()
            if name in found
        }

    @classmethod
    def fit(
        cls,
        found: Sequence[Traits],
        right: Sequence[bool],
        databases: Sequence[str],
        questions: Sequence[str],
    ) -> "EvidenceWeights":
        """Of statements that are known to be right or wrong; the weights' freedom is chosen by leaving databases out.
        Raises ConfidenceError where they are too few, or all of one kind.
        """
        sizes = {len(found), len(right), len(databases), len(questions)}
        if len(sizes) > 1:
            raise ConfidenceError("traits, right or wrong, databases and questions are not of one number")
        if len(found) < MIN_STATEMENTS or len(set(databases)) < FOLDS or len(set(right)) < 2:
            raise ConfidenceError(
                f"{len(found)} statements on {len(set(databases))} databases, {sum(right)} of them right; weights of evidence "
                f"need {MIN_STATEMENTS} on {FOLDS} databases, right ones and wrong ones"
            )
        names = sorted(set().union(*found))
        x_NT = np.array([[one.get(name, np.nan) for name in names] for one in found])
        y_N = np.array(right, dtype=np.bool_)
        losses = {strength: _held_out_loss(x_NT, y_N, databases, strength) for strength in STRENGTHS}
        best = min(losses, key=lambda strength: losses[strength])
        centre_T, scale_T = _scales(x_NT)
        fit = _logistic(_scaled(x_NT, centre_T, scale_T), y_N, best)
        parts = zip(names, centre_T, scale_T, fit.coef_[0], strict=True)
        kept = {n: (float(c), float(s), float(w)) for n, c, s, w in parts}
        return cls(
            statements=len(found),
            questions=len(set(questions)),
            databases=len(set(databases)),
            strength=best,
            held_out_log_loss=round(losses[best], 5),
            intercept=float(fit.intercept_[0]),
            traits={
                n: Trait(centre=round(c, 5), scale=max(round(s, 5), 1e-5), weight=round(w, 5))
                for n, (c, s, w) in kept.items()
                if abs(w) >= NOTHING
            },
        )  # fmt: skip


class Evidence:
    """The probability that the fitted weights give to the answer's traits."""

    name = "evidence"
    cost = Cost.EMBEDDING

    def __init__(
        self,
        aligner: Aligner,
        contents: ContentsOf | None = None,
        weights: EvidenceWeights | None = None,
    ):
        """`aligner` is best shared with the signals that use it too: it remembers. The weights that come with this package
        are read at the first use, unless others are given.
        """
        self._aligner = aligner
        self._contents = contents
        self._weights = weights

    def measure(self, answers: Sequence[Answer]) -> list[Reading]:
        weights = self._weights or shipped_weights()
        return [self._read(found, weights) for found in self.traits(answers)]

    def traits(self, answers: Sequence[Answer]) -> list[dict[str, float] | None]:
        """What the weights are of: each answer's traits, None where its SQL does not parse."""
        alignments = self._aligner.alignments(answers)
        return [
            traits(
                answer,
                alignment if isinstance(alignment, Alignment) else None,
                self._contents(answer) if self._contents else None,
            )
            for answer, alignment in zip(answers, alignments, strict=True)
        ]

    def _read(self, found: Traits | None, weights: EvidenceWeights) -> Reading:
        if found is None:
            return Reading(self.name, None, note="the SQL is not one query that parses")
        parts = weights.contributions(found)
        worst = sorted((part, name) for name, part in parts.items() if part < -NOTABLE)[:NOTED]
        value = float(expit(weights.intercept + sum(parts.values())))
        return Reading(
            self.name,
            value,
            note="; ".join(f"{name} {found[name]:.3g} ({part:+.1f})" for part, name in worst),
        )


@cache
def shipped_weights() -> EvidenceWeights:
    return EvidenceWeights.load()


def _scales(x_NT: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    known_T = ~np.isnan(x_NT).all(axis=0)
    centre_T, scale_T = np.zeros(x_NT.shape[1]), np.ones(x_NT.shape[1])
    centre_T[known_T], scale_T[known_T] = (
        np.nanmean(x_NT[:, known_T], axis=0),
        np.nanstd(x_NT[:, known_T], axis=0),
    )
    scale_T[scale_T < 1e-6] = 1.0
    return centre_T, scale_T


def _scaled(
    x_NT: NDArray[np.float64], centre_T: NDArray[np.float64], scale_T: NDArray[np.float64]
) -> NDArray[np.float64]:
    found_NT: NDArray[np.float64] = np.nan_to_num(np.clip((x_NT - centre_T) / scale_T, -FAR, FAR), nan=0.0)
    return found_NT


def _logistic(z_NT: NDArray[np.float64], y_N: NDArray[np.bool_], strength: float) -> LogisticRegression:
    return LogisticRegression(C=strength, max_iter=2_000).fit(z_NT, y_N)


def _held_out_loss(
    x_NT: NDArray[np.float64], y_N: NDArray[np.bool_], databases: Sequence[str], strength: float
) -> float:
    p_N = np.empty(len(y_N))
    for train_M, test_M in GroupKFold(FOLDS, shuffle=True, random_state=0).split(x_NT, y_N, databases):
        scales = _scales(x_NT[train_M])
        fit = _logistic(_scaled(x_NT[train_M], *scales), y_N[train_M], strength)
        p_N[test_M] = fit.predict_proba(_scaled(x_NT[test_M], *scales))[:, 1]
    return float(log_loss(y_N, p_N))
