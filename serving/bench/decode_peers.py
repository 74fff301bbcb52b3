"""Greedy generation of one request at a time: the embedded engine beside vLLM, on the same prompts, in one run."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import torch
from transformers import PreTrainedModel

from ..engines import decoding, vllm
from ..settings import Settings

PROMPT_TOKENS, NEW_TOKENS, REPEATS = 400, 64, 5
FIRST_TOKEN = 4
NEVER = -1
Generate = Callable[[list[int], int], None]
"""Writes so many tokens after a prompt's ids, whatever they are."""


def beside_vllm(settings: Settings, model: PreTrainedModel) -> dict[str, Any]:
    """Tokens a second after the first one at concurrency 1, each engine's median, and their ratio.

    vLLM runs in the environment that SURESQL_VLLM_ENVIRONMENT names, in bfloat16 unless SURESQL_ENGINE_DTYPE says otherwise,
    as `suresql serve` starts it; SURESQL_ENGINE_ARGUMENTS adds to its command line (--no-enforce-eager compiles). Requests
    alternate.
    """
    ours = _ours(model)
    there = vllm.environment(settings)
    if not there.ready:
        rate = _rates({"embedded": ours}, model.config.vocab_size)["embedded"]
        return {"embedded_tokens_per_s": round(rate, 1), "vllm": f"not installed in {there.folder.name}"}
    with _vllm(settings) as theirs:
        rates = _rates({"embedded": ours, "vllm": theirs}, model.config.vocab_size)
    return {
        "embedded_tokens_per_s": round(rates["embedded"], 1),
        "vllm_tokens_per_s": round(rates["vllm"], 1),
        "ratio_to_vllm": round(rates["embedded"] / rates["vllm"], 2),
        "vllm_dtype": settings.engine_dtype or "bfloat16",
        "vllm_arguments": settings.engine_arguments or "eager",
    }


def _rates(engines: dict[str, Generate], vocabulary: int) -> dict[str, float]:
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    for repeat in range(REPEATS + 1):  # the first warms up
        for name, generate in engines.items():
            prompt = torch.randint(FIRST_TOKEN, vocabulary, (PROMPT_TOKENS,)).tolist()
            first = _seconds(generate, prompt, 1)
            prompt = torch.randint(FIRST_TOKEN, vocabulary, (PROMPT_TOKENS,)).tolist()  # in nobody's cache
            whole = _seconds(generate, prompt, NEW_TOKENS + 1)
            if repeat:
                seconds[name].append(max(whole - first, 1e-9))
    return {name: NEW_TOKENS / statistics.median(some) for name, some in seconds.items()}


def _seconds(generate: Generate, prompt: list[int], tokens: int) -> float:
    started = time.perf_counter()
    generate(prompt, tokens)
    return time.perf_counter() - started


def _ours(model: PreTrainedModel) -> Generate:
    @torch.inference_mode()
    def generate(prompt: list[int], tokens: int) -> None:
        decoding.decode(model, [prompt], max_tokens=tokens, eos_id=NEVER, pad_id=0)

    return generate


@contextmanager
def _vllm(settings: Settings) -> Iterator[Generate]:
    """A server of its own, stopped at the end, that logs to a folder of its own."""
    with tempfile.TemporaryDirectory() as home:
        own = settings.model_copy(
            update={
                "home": Path(home),
                "vllm_environment": vllm.environment(settings).folder,
                "engine_dtype": settings.engine_dtype or "bfloat16",
                "engine_replicas": 1,
            }
        )
        (server,) = vllm.start(own)
        try:
            server.wait(vllm.START_S)
            with httpx.Client(base_url=server.url, timeout=settings.engine_timeout_s) as client:

                def generate(prompt: list[int], tokens: int) -> None:
                    body = {
                        "model": settings.checkpoint.name,
                        "prompt": prompt,
                        "max_tokens": tokens,
                        "temperature": 0,
                        "ignore_eos": True,
                    }
                    answer = client.post("/v1/completions", json=body).raise_for_status().json()
                    if answer["usage"]["completion_tokens"] != tokens:
                        raise RuntimeError(
                            f"vLLM wrote {answer['usage']} where {tokens} tokens were asked for"
                        )

                yield generate
        finally:
            server.stop()
