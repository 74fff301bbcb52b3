"""Speed of the embedded engine: prompts of 400 tokens and 24 written, by batch size."""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch
from transformers import PreTrainedModel

from model.hf import load_transformers

from ..engines import decoding
from ..engines.embedded import EXPERTS
from ..settings import Settings

PROMPT_TOKENS, NEW_TOKENS, REPEATS = 400, 24, 3
NEVER = -1  # an end token that no model writes


def run(settings: Settings, experts: str = EXPERTS) -> dict[str, Any]:
    """Milliseconds of prefill and of one decode step, the median of three, at batch 1, 4 and 16."""
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    model = load_transformers(settings.checkpoint)
    model.set_experts_implementation(experts)
    figures: dict[str, Any] = {"threads": torch.get_num_threads(), "experts": experts}
    for batch in (1, 4, 16):
        _seconds(model, batch, 2)
        prefill = statistics.median(_seconds(model, batch, 1) for _ in range(REPEATS))
        whole = statistics.median(_seconds(model, batch, NEW_TOKENS + 1) for _ in range(REPEATS))
        figures[f"batch_{batch}"] = {
            "prefill_ms": round(prefill * 1000, 1),
            "step_ms": round((whole - prefill) * 1000 / NEW_TOKENS, 2),
        }
    return figures


@torch.inference_mode()
def _seconds(model: PreTrainedModel, batch: int, tokens: int) -> float:
    prompts = torch.randint(3, model.config.vocab_size, (batch, PROMPT_TOKENS)).tolist()
    started = time.perf_counter()
    decoding.decode(model, prompts, max_tokens=tokens, eos_id=NEVER, pad_id=0)
    return time.perf_counter() - started
