"""Puts a pipeline together from settings: the checkpoint, the signals, and the calibration."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from corpus.contents import Contents
from corpus.nearness import Nearness
from corpus.references import ANY
from sqlconf.agreement import Agreement, DistinctRows, NonEmpty, ResultProbability
from sqlconf.back_translation import BackTranslation, ReverseCheck
from sqlconf.coverage import Aligner
from sqlconf.embedding import shared_embedder
from sqlconf.errors import ConfidenceError
from sqlconf.evidence import Evidence
from sqlconf.fusion import Fusion
from sqlconf.grounding import ContentsView, Grounding
from sqlconf.likelihood import likelihood, weakest_token, whole_sequence
from sqlconf.profiles import chosen
from sqlconf.rivals import ResultEntropy, Rivalry
from sqlconf.self_report import SelfReport
from sqlconf.shape import Shape
from sqlconf.signal import Answer, Signal
from sqlconf.similarity import Similarity, raw
from sqlconf.views import Views

from .calibration import abstain_threshold, weights_digest
from .candidates import Context
from .engines import Engine
from .engines.chat_engine import ChatEngine
from .engines.opening import open_engine
from .errors import CheckpointError
from .ours import LanguageModel, ReferenceMask, ReferenceWriter
from .pipeline import Pipeline, Writer
from .plain import PlainModel, PlainWriter
from .settings import Settings

log = logging.getLogger(__name__)
PLAIN_TOKENS = 512  # a model that spells its SQL, and says a word about it, needs more


def load_pipeline(settings: Settings) -> Pipeline:
    """The pipeline on the engine that the settings name, started if need be.

    Raises CheckpointError if a file is missing or does not fit, EngineSetupError or EngineUnavailable for the engine.
    """
    engine = open_engine(settings)
    writer: Writer[Any]
    if isinstance(engine, ChatEngine):
        tokens = max(settings.max_tokens, PLAIN_TOKENS)
        writer = PlainWriter(
            engine, candidates=settings.candidates, max_tokens=tokens, grammar=settings.engine_grammar
        )
        every = _plain_signals(engine)
        fusion = _plain_fusion(settings, engine, every)
        by_statement: Sequence[tuple[Signal, float]] = ()  # tuned on, and tried with, our own models alone
    else:
        mask = ReferenceMask(engine.vocabulary_size, engine.special_tokens(), [ANY])
        writer = ReferenceWriter(
            engine,
            mask=mask,
            grammar=engine.grammar_vocabulary if settings.grammar else None,
            near=Nearness(shared_embedder().embed),
            candidates=settings.candidates,
            max_tokens=settings.max_tokens,
        )
        every = signals_of(engine, mask)
        fusion = load_fusion(settings, every)
        by_statement = [(Shape(), 2.0), (Grounding(contents_of), 1.0)]
    return Pipeline(
        writer,
        [signal for signal in every if signal.name in fusion.signals],
        fusion,
        abstain_below=abstain_threshold(settings, fusion),
        abstain_below_known={
            database: abstain_threshold(settings, own) for database, own in fusion.known.items()
        },
        signal_limit_s=settings.signal_limit_s,
        run_candidates=settings.run_candidates,
        by_statement=by_statement,
    )


def _plain_signals(engine: ChatEngine) -> list[Signal]:
    """Those that need no knowledge of the model's tokens."""
    model, embedder = PlainModel(engine), shared_embedder()
    aligner = Aligner(embedder)
    return [
        BackTranslation(model, embedder), Similarity(embedder), Similarity(embedder, view=raw, name="raw_similarity"),
        SelfReport(model), likelihood(), weakest_token(), whole_sequence(), Agreement(), ResultProbability(),
        NonEmpty(), DistinctRows(), Rivalry(), ResultEntropy(), *aligner.signals(), Shape(), Grounding(contents_of),
        Evidence(aligner, contents_of),
    ]  # fmt: skip


def _plain_fusion(settings: Settings, engine: ChatEngine, signals: Sequence[Signal]) -> Fusion:
    """The calibration that the settings name; the checkpoint's own says nothing of another model."""
    if settings.fusion is not None:
        return load_fusion(settings, signals)
    log.warning("confidences of %s are not calibrated; run suresql calibrate", engine.model_name)
    return Fusion.unfitted(chosen(settings.profile, signals))


def signals_of(engine: Engine, mask: ReferenceMask | None = None) -> list[Signal]:
    """The three families of arXiv 2506.17203, what the token probabilities say, and whether candidates agree."""
    model, embedder = LanguageModel(engine, mask), shared_embedder()
    aligner = Aligner(embedder)
    return [
        BackTranslation(model, embedder),
        ReverseCheck(model),
        Similarity(embedder),
        Similarity(embedder, view=raw, name="raw_similarity"),
        SelfReport(model),
        likelihood(),
        weakest_token(),
        whole_sequence(),
        Agreement(),
        ResultProbability(),
        NonEmpty(),
        DistinctRows(),
        Rivalry(),
        ResultEntropy(),
        *Views(model).signals(),
        *aligner.signals(),
        Shape(),
        Grounding(contents_of),
        Evidence(aligner, contents_of),
    ]


def contents_of(answer: Answer) -> ContentsView | None:
    """The values of an answer's database, as candidates.py and the pipeline pass them on."""
    context = answer.context
    if isinstance(context, Context):
        return context.contents
    return context if isinstance(context, Contents) else None


def load_fusion(settings: Settings, signals: Sequence[Signal]) -> Fusion:
    """The checkpoint's calibration for the profile, which says what of `signals` is measured; without one the confidence is
    a plain mean of the profile's, and the log says so.

    Raises CheckpointError for one that was fitted on signals that there are not or, as far as it says, other weights.
    """
    file = settings.fusion_file
    if not file.exists():
        log.warning("%s is not there: confidences are not calibrated; run suresql calibrate", file)
        return Fusion.unfitted(chosen(settings.profile, signals))
    try:
        fusion = Fusion.load(file)
    except ConfidenceError as error:
        raise CheckpointError(f"The calibration cannot be used: {error}", "Run suresql calibrate.") from error
    if unknown := set(fusion.signals) - {signal.name for signal in signals}:
        raise CheckpointError(
            f"The calibration {file} was fitted on signals that there are not: {', '.join(sorted(unknown))}.",
            "Run suresql calibrate.",
        )
    if fusion.model is not None and fusion.model != weights_digest(settings.checkpoint):
        raise CheckpointError(
            f"The calibration {file} belongs to other weights than {settings.checkpoint} has;"
            " run suresql calibrate.",
            "For predictions to calibrate on, remove it and run suresql eval.",
        )
    return fusion
