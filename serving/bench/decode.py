"""Speed of the embedded engine: prompts of 400 tokens and 24 written, by batch size."""

from __future__ import annotations

import statistics
import time
from typing import Any

from corpus.references import ASK, BOS

from ..engines.embedded import EmbeddedEngine
from ..settings import Settings

PROMPT_TOKENS, NEW_TOKENS, REPEATS = 400, 24, 3


def run(settings: Settings) -> dict[str, Any]:
    """Milliseconds of prefill and of one decode step, the median of three, at batch 1, 4 and 16."""
    engine = EmbeddedEngine(settings.checkpoint, threads=settings.threads)
    prompt = f"{BOS}{ASK}" + " a" * PROMPT_TOKENS
    never_ends = [[engine.vocabulary_size - 1]]
    figures: dict[str, Any] = {}
    for batch in (1, 4, 16):
        engine.generate([prompt] * batch, max_tokens=2)
        first = [_seconds(engine, prompt, batch, 1, never_ends) for _ in range(REPEATS)]
        whole = [_seconds(engine, prompt, batch, NEW_TOKENS + 1, never_ends) for _ in range(REPEATS)]
        prefill, total = statistics.median(first), statistics.median(whole)
        figures[f"batch_{batch}"] = {
            "prefill_ms": round(prefill * 1000, 1),
            "step_ms": round((total - prefill) * 1000 / NEW_TOKENS, 2),
        }
    return figures


def _seconds(engine: EmbeddedEngine, prompt: str, batch: int, tokens: int, allowed: list[list[int]]) -> float:
    started = time.perf_counter()
    engine.generate([prompt] * batch, max_tokens=tokens, allowed=allowed * batch)
    return time.perf_counter() - started
