"""The grammar: the share of training queries that it takes, and what it costs beside the steps of the model.

Without SURESQL_DATA the queries are the demo's alone; with it also Spider's, Spider-Syn's, WikiSQL's and generated ones.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corpus.contents import Contents
from corpus.demo import build_demo_database
from corpus.demo_questions import demo_questions
from corpus.grammar_coverage import coverage
from corpus.grammar_tokens import Grammar, State
from corpus.references import Prompt, ask
from corpus.schema import read_schema

from ..engines.embedded import EmbeddedEngine
from ..settings import Settings

QUESTIONS, BATCH, SEED, REPEATS = 48, 8, 3, 3
DRAWN = 4_000
"""Questions of each source that is drawn, not read."""


class _Timed:
    """A Grammar that adds up the time that it takes."""

    seconds = 0.0

    def __init__(self, prompt: Prompt, engine: EmbeddedEngine) -> None:
        started = time.perf_counter()
        self._grammar = Grammar(prompt.binding, engine.grammar_vocabulary)
        _Timed.seconds += time.perf_counter() - started

    def start(self) -> State:
        return self._grammar.start()

    def mask(self, state: State, left: int) -> NDArray[np.bool_]:
        started = time.perf_counter()
        found = self._grammar.mask(state, left)
        _Timed.seconds += time.perf_counter() - started
        return found

    def after(self, state: State, token: int) -> State:
        started = time.perf_counter()
        found = self._grammar.after(state, token)
        _Timed.seconds += time.perf_counter() - started
        return found


def run(settings: Settings) -> dict[str, Any]:
    """Shares by source, and times of beam searches with and without the grammar, in turn."""
    engine = EmbeddedEngine(settings.checkpoint, threads=settings.threads)
    data: dict[str, Any] = {"demo": DRAWN}
    if settings.data is not None:
        data |= {
            "root": str(settings.data),
            "spider": 1,
            "spider_syn": 1,
            "synthetic": DRAWN,
            "wikisql": DRAWN,
        }
        data["holdout"] = 0
    return {"coverage": coverage(data, engine.grammar_vocabulary, engine.encode), **_cost(engine, settings)}


def _cost(engine: EmbeddedEngine, settings: Settings) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = build_demo_database(Path(folder) / "demo.sqlite")
        schema = read_schema(path)
        contents = Contents.read(path, schema)
        prompts = [
            ask(one.question, schema, contents) for one in demo_questions(QUESTIONS, SEED, "train", path)
        ]
    _decode(engine, prompts[:BATCH], settings, True)
    free, bound, shares, tokens = [], [], [], 0
    for _ in range(REPEATS):
        free.append(_decode(engine, prompts, settings, False)[0])
        _Timed.seconds = 0.0
        seconds, tokens = _decode(engine, prompts, settings, True)
        bound.append(seconds)
        shares.append(_Timed.seconds / seconds)
    return {
        "questions": len(prompts),
        "beams": settings.candidates,
        "tokens_of_candidates": tokens,
        "seconds_without": free,
        "seconds_with": bound,
        "ratio_median": statistics.median(b / f for b, f in zip(bound, free, strict=True)),
        "share_of_decoding": statistics.median(shares),
        "microseconds_a_token": statistics.median(shares) * statistics.median(bound) / max(tokens, 1) * 1e6,
    }


def _decode(
    engine: EmbeddedEngine, prompts: Sequence[Prompt], settings: Settings, grammar: bool
) -> tuple[float, int]:
    """Seconds, and tokens of the candidates."""
    tokens = 0
    started = time.perf_counter()
    for first in range(0, len(prompts), BATCH):
        some = prompts[first : first + BATCH]
        found = engine.generate(
            [one.text for one in some],
            max_tokens=settings.max_tokens,
            n=settings.candidates,
            constraints=[_Timed(one, engine) for one in some] if grammar else None,
        )
        tokens += sum(len(one.token_ids) for several in found for one in several)
    return time.perf_counter() - started, tokens
