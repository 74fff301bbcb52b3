"""Puts a pipeline together from settings: the checkpoint, the signals, and the calibration."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from sqlconf.fusion import Fusion

from corpus.references import ANY, EOS, SPECIAL_TOKENS
from sqlconf.back_translation import BackTranslation
from sqlconf.embedding import shared_embedder
from sqlconf.errors import ConfidenceError
from sqlconf.likelihood import likelihood, weakest_token, whole_sequence
from sqlconf.self_report import SelfReport
from sqlconf.signal import Signal
from sqlconf.similarity import Similarity

from .engines import Engine
from .engines.embedded import EmbeddedEngine
from .errors import CheckpointError
from .pipeline import LanguageModel, Pipeline, ReferenceMask
from .settings import Settings

log = logging.getLogger(__name__)


class Uncalibrated:
    """In place of a fusion that is not fitted yet: the plain mean of what was measured, no probability."""

    def confidence(self, readings: Mapping[str, float | None]) -> float:
        known = [value for value in readings.values() if value is not None]
        return sum(known) / len(known) if known else 0.0


def load_pipeline(settings: Settings) -> Pipeline:
    """The pipeline on the embedded engine. Raises CheckpointError if a file is missing or does not fit."""
    engine = EmbeddedEngine(settings.checkpoint, threads=settings.threads)
    barred = [token for token in SPECIAL_TOKENS if token not in (ANY, EOS)]
    return Pipeline(
        engine,
        signals_of(engine),
        load_fusion(settings),
        mask=ReferenceMask(engine.vocabulary(), barred),
        candidates=settings.candidates,
        max_tokens=settings.max_tokens,
        abstain_below=settings.abstain_below,
    )


def signals_of(engine: Engine) -> list[Signal]:
    """The three families of arXiv 2506.17203, and what the token probabilities say."""
    model, embedder = LanguageModel(engine), shared_embedder()
    return [
        BackTranslation(model, embedder),
        Similarity(embedder),
        SelfReport(model),
        likelihood(),
        weakest_token(),
        whole_sequence(),
    ]


def load_fusion(settings: Settings) -> Fusion | Uncalibrated:
    """The checkpoint's calibration; without one the confidence is a plain mean, and the log says so."""
    file = settings.fusion_file
    if not file.exists():
        log.warning("%s is not there: confidences are not calibrated; run suresql calibrate", file)
        return Uncalibrated()
    try:
        return Fusion.load(file)
    except (ConfidenceError, OSError, ValueError) as error:
        raise CheckpointError(
            f"The calibration {file} cannot be read: {error}", "Run suresql calibrate."
        ) from error
