"""What users say of answers: kept in a file, made part of the calibration in the background, and watched for drift.

A label is a line of predictions, as `suresql eval` writes them, so that `suresql calibrate` takes the file too. The calibration
that ships stands on readings that ship beside it; a refit is of those and all labels, on the signals that are measured now.
Versions are files of their own; the newest is what answers are judged by, also after a restart.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlconf.errors import ConfidenceError
from sqlconf.fusion import Fusion

from .calibration import READINGS, abstain_threshold, fit, weights_digest
from .engines.chat_engine import ChatEngine
from .errors import CheckpointError, EvaluationError, FeedbackUnavailable, UnknownAnswer
from .pipeline import AskResult, Pipeline
from .predictions import Judged, as_lines, read_predictions
from .settings import Settings

log = logging.getLogger(__name__)
REMEMBERED = 10_000
"""Answers that can still be labelled, the latest."""
EVERY = 20
"""New labels from one refit to the next."""
WINDOW, FAR = 50, 3.0
"""Drift: the latest labels looked at, and how many standard deviations their sum may be off."""


@dataclass(frozen=True)
class FeedbackState:
    """Where the calibration stands."""

    labels: int
    version: int
    """0 for the calibration that shipped."""
    pending: int
    """Labels that no refit has used."""
    refused: str | None
    """Why the last refit came to nothing, if so."""
    drift: float | None
    """Right answers among the latest labels, less those that their confidences promised, in standard deviations."""
    drifted: bool


class Feedback:
    """Remembers answers, takes labels, refits. Safe to call from several threads; one refit at a time."""

    def __init__(
        self,
        folder: Path,
        pipeline: Pipeline,
        readings: Path,
        adopt: Callable[[Fusion], None],
    ) -> None:
        """`folder` belongs to the weights and the profile; `readings` are the judged ones that shipped, if they are there;
        `adopt` makes the pipeline judge by a calibration.

        Takes up the newest version in `folder`. Raises EvaluationError for a file of labels that is broken.
        """
        self._folder = folder
        self._pipeline = pipeline
        self._readings = readings
        self._adopt = adopt
        self._answers: OrderedDict[str, tuple[str, str, AskResult, str]] = OrderedDict()
        self._lock = threading.Lock()
        self._refitting = threading.Lock()
        self._refused: str | None = None
        self._labels = self._read_labels()
        self._version, fusion = self._newest()
        self._used = len(self._labels) if self._version else 0
        if fusion is not None:
            adopt(fusion)

    def remember(self, question: str, database: str, result: AskResult, tenant: str = "") -> str:
        """An identifier under which the answer can be labelled, by the same tenant, while it is among the latest."""
        name = uuid.uuid4().hex
        with self._lock:
            self._answers[name] = (question, database, result, tenant)
            while len(self._answers) > REMEMBERED:
                self._answers.popitem(last=False)
        return name

    def label(self, answer: str, correct: bool, tenant: str = "") -> FeedbackState:
        """Keep a verdict, on the disk before this returns; one on the same answer again replaces the first.

        Raises UnknownAnswer, or FeedbackUnavailable where the file cannot be written.
        """
        with self._lock:
            question, database, result, owner = self._answers.get(answer, ("", "", None, ""))
            if result is None or owner != tenant:
                raise UnknownAnswer(
                    f"No answer {answer[:64]!r} is remembered.",
                    f"Answers can be labelled until {REMEMBERED:,} further ones or a restart; ask again.",
                )
            judged = _judged(answer, question, database, result, correct)
            self._write(judged)
            self._labels[answer] = judged
        return self.state()

    def due(self) -> bool:
        """Whether enough labels are new for a refit."""
        return len(self._labels) - self._used >= EVERY

    def refit(self) -> FeedbackState:
        """Fit on what shipped and all labels, and judge by it from now on; where that is not possible, the calibration stays
        and the state says why.
        """
        with self._refitting:
            with self._lock:
                labels = [one for one in self._labels.values() if one.sql]
                size = len(self._labels)
            try:
                base = read_predictions(self._readings) if self._readings.exists() else []
                fusion = fit([*base, *labels], [signal.name for signal in self._pipeline.signals])
                version = self._version + 1
                self._folder.mkdir(parents=True, exist_ok=True)
                fusion.save(self._file(version))
            except (ConfidenceError, EvaluationError, OSError) as error:
                self._refused = str(error)
                self._used = size
                log.warning("the labels do not make a calibration, the old one stays: %s", error)
                return self.state()
            self._adopt(fusion)
            self._version, self._used, self._refused = version, size, None
            log.info("calibration %d: %d answers that shipped, %d labels", version, len(base), len(labels))
        return self.state()

    def state(self) -> FeedbackState:
        with self._lock:
            labels = list(self._labels.values())
        z = drift(
            [one.confidence for one in labels[-WINDOW:]], [bool(one.correct) for one in labels[-WINDOW:]]
        )
        drifted = z is not None and abs(z) > FAR
        if drifted:
            log.warning("confidences are %.1f standard deviations off over the latest labels", z)
        return FeedbackState(len(labels), self._version, len(labels) - self._used, self._refused, z, drifted)

    def _file(self, version: int) -> Path:
        return self._folder / f"fusion-{version:04}.json"

    def _newest(self) -> tuple[int, Fusion | None]:
        """The newest version that can be read; a broken one is passed over, and the log says so."""
        for path in sorted(self._folder.glob("fusion-[0-9]*.json"), reverse=True):
            try:
                fusion = Fusion.load(path)
                known = {signal.name for signal in self._pipeline.signals}
                if unknown := set(fusion.signals) - known:
                    raise ConfidenceError(
                        f"it knows signals that are not measured: {', '.join(sorted(unknown))}"
                    )
                return int(path.stem.removeprefix("fusion-")), fusion
            except (ConfidenceError, ValueError) as error:
                log.warning("the calibration %s is passed over: %s", path, error)
        return 0, None

    def _read_labels(self) -> dict[str, Judged]:
        file = self._folder / "labels.jsonl"
        if not file.exists():
            return {}
        raw = file.read_bytes()
        if not raw.endswith(b"\n"):  # the last write was cut short: what it said was not acknowledged
            file.write_bytes(raw[: raw.rfind(b"\n") + 1])
        return {str(one.id): one for one in read_predictions(file)}

    def _write(self, judged: Judged) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with (self._folder / "labels.jsonl").open("a", encoding="utf-8") as file:
                file.write(judged.line())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise FeedbackUnavailable(
                f"The label cannot be kept: {error.strerror}.",
                f"May {self._folder} be written, and is there room?",
            ) from error


def open_feedback(settings: Settings, pipeline: Pipeline) -> Feedback:
    """The labels and versions of these weights and this profile, under the settings' home."""
    plain = isinstance(pipeline.engine, ChatEngine)
    try:
        weights = None if plain else weights_digest(settings.checkpoint)[:12]
    except CheckpointError:
        weights = None  # an engine elsewhere has them
    if weights is None:
        weights = pipeline.engine.model_name.replace("/", "-")
    folder = settings.home / "feedback" / f"{weights}-{settings.profile}"
    # What a calibration was fitted on stands beside it; the checkpoint's own is nothing to another model.
    readings = (
        folder / READINGS if plain and settings.fusion is None else settings.fusion_file.with_name(READINGS)
    )

    def adopt(fusion: Fusion) -> None:
        pipeline.adopt(
            fusion,
            abstain_threshold(settings, fusion),
            {name: abstain_threshold(settings, own) for name, own in fusion.known.items()},
        )

    return Feedback(folder, pipeline, readings, adopt)


def drift(confidences: Sequence[float], correct: Sequence[bool]) -> float | None:
    """How far the number of right answers is from the sum of their confidences, in its standard deviations; None for
    fewer than ten labels, or where the confidences leave no room.
    """
    spread = math.sqrt(sum(p * (1 - p) for p in confidences))
    if len(confidences) < 10 or spread <= 0:
        return None
    return (sum(correct) - sum(confidences)) / spread


def _judged(answer: str, question: str, database: str, result: AskResult, correct: bool) -> Judged:
    return Judged(
        answer, result.sql, result.confidence, as_lines(result.signals), correct, database, result.abstain, result.error,
        question, database=result.database,
    )  # fmt: skip
