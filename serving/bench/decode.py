"""Speed of the embedded engine: one pass and one step by batch size, beam search with a prefix's cache cold and warm, and vLLM's
beside it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from transformers import PreTrainedModel

from model.hf import load_transformers

from ..engines import decoding
from ..engines.embedded import EXPERTS, PREFIX_BYTES
from ..engines.prefixes import Prefixes
from ..settings import Settings
from .decode_peers import beside_vllm

PROMPT_TOKENS, NEW_TOKENS, REPEATS = 400, 24, 3
SCHEMA_TOKENS, QUESTION_TOKENS, BEAMS, SQL_TOKENS = 200, 35, 4, 40
NEVER = -1  # an end token that no model writes
MARK = 3  # between schema and question
Work = Callable[[PreTrainedModel, list[list[int]], Prefixes | None], None]


def run(settings: Settings, experts: str = EXPERTS) -> dict[str, Any]:
    """The median of three: milliseconds of prefill and of one greedy step at batch 1, 4 and 16; and, of questions on one
    database at batch 1 and 16, prompts a second of a beam search and of scoring one token, with no cache of prefixes, with
    an empty one and with one that holds the schema.
    """
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    model = load_transformers(settings.checkpoint)
    model.set_experts_implementation(experts)
    figures: dict[str, Any] = {"threads": torch.get_num_threads(), "experts": experts}
    for batch in (1, 4, 16):
        _greedy(model, batch, 2)
        prefill = _median(partial(_greedy, model, batch, 1))
        whole = _median(partial(_greedy, model, batch, NEW_TOKENS + 1))
        figures[f"batch_{batch}"] = {
            "prefill_ms": round(prefill * 1000, 1),
            "step_ms": round((whole - prefill) * 1000 / NEW_TOKENS, 2),
        }
    for batch in (1, 16):
        figures[f"one_database_{batch}"] = {
            "beams_per_s": _rates(_beams, model, batch),
            "scores_per_s": _rates(_scores, model, batch),
        }
    figures["one_at_a_time"] = beside_vllm(settings, model)
    return figures


def _rates(work: Work, model: PreTrainedModel, batch: int) -> dict[str, float]:
    """Prompts a second, by what is known of their schema."""
    (schema,) = _tokens(model, 1, SCHEMA_TOKENS)
    prompts = [[*schema, MARK, *question] for question in _tokens(model, batch, QUESTION_TOKENS)]
    warm = Prefixes(MARK, PREFIX_BYTES)
    work(model, prompts, warm)
    seconds = {
        "none": _median(lambda: work(model, prompts, None)),
        "cold": _median(lambda: work(model, prompts, Prefixes(MARK, PREFIX_BYTES))),
        "warm": _median(lambda: work(model, prompts, warm)),
    }
    return {kept: round(batch / one, 2) for kept, one in seconds.items()}


@torch.inference_mode()
def _greedy(model: PreTrainedModel, batch: int, tokens: int) -> None:
    prompts = _tokens(model, batch, PROMPT_TOKENS)
    decoding.decode(model, prompts, max_tokens=tokens, eos_id=NEVER, pad_id=0)


@torch.inference_mode()
def _beams(model: PreTrainedModel, prompts: list[list[int]], prefixes: Prefixes | None) -> None:
    decoding.beam_search(
        model, prompts, beams=BEAMS, max_tokens=SQL_TOKENS, eos_id=NEVER, pad_id=0, prefixes=prefixes
    )


@torch.inference_mode()
def _scores(model: PreTrainedModel, prompts: list[list[int]], prefixes: Prefixes | None) -> None:
    decoding.score(model, prompts, [[MARK]] * len(prompts), 0, prefixes)


def _tokens(model: PreTrainedModel, batch: int, length: int) -> list[list[int]]:
    return torch.randint(MARK + 1, model.config.vocab_size, (batch, length)).tolist()


def _median(work: Callable[[], None]) -> float:
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)
