"""Training speed of the model with MuonClip beside transformers' DeepSeek-V3 with `torch.optim.Muon`, in one run."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from model import PRESETS, Tokenizer, Transformer
from model.attention import LatentAttention
from model.heap import keep_freed_memory
from model.hf import export, load_transformers
from model.speed import fastest_dtype, matmul_rate, training_flops
from optim.muonclip import MuonClip
from optim.split import split_parameters

from ..settings import Settings

BATCH, LENGTH, REPEATS = 32, 256, 5


def run(settings: Settings) -> dict[str, Any]:
    """Tokens a second of forward, backward and step on the same weights, tokens and dtype; steps alternate.

    A target stands at every position. transformers' matrices go to `torch.optim.Muon`; its stacked experts, which that does not
    take, and the rest to AdamW: less work than ours, which gives Muon the experts too.
    """
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    keep_freed_memory()  # for both
    config = PRESETS["nano"]
    dtype = fastest_dtype()
    torch.manual_seed(0)
    ours = Transformer(config)
    with tempfile.TemporaryDirectory() as folder:
        export(ours, Tokenizer.load(settings.checkpoint), folder)
        theirs = load_transformers(folder).train()
    theirs.set_experts_implementation("grouped_mm")
    tokens_BT = torch.randint(3, config.vocab_size, (BATCH, LENGTH + 1))
    steps = {
        "suresql": _ours(ours, tokens_BT, dtype),
        "transformers": _theirs(theirs, tokens_BT, dtype),
    }
    times: dict[str, list[float]] = {name: [] for name in steps}
    for repeat in range(REPEATS + 1):  # the first warms up
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            if repeat:
                times[name].append(time.perf_counter() - started)
    seconds = {name: statistics.median(some) for name, some in times.items()}
    tokens = BATCH * LENGTH
    rate = training_flops(config, tokens, LENGTH, tokens) / seconds["suresql"] / 1e9
    peaks = {name: matmul_rate(one, 2048) for name, one in _DTYPES.items()}
    return {
        "threads": torch.get_num_threads(),
        "dtype": str(dtype).removeprefix("torch."),
        "tokens_per_s": {name: round(tokens / one) for name, one in seconds.items()},
        "tokens_per_s_ratio_to_transformers": round(seconds["transformers"] / seconds["suresql"], 2),
        "gflops_per_s": round(rate, 1),
        "matmul_gflops_per_s": {name: round(one, 1) for name, one in peaks.items()},
        "share_of_matmul_peak": round(rate / peaks["bfloat16"], 3),
        "share_of_fastest_matmul": round(rate / max(peaks.values()), 3),
    }


_DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


def _ours(model: Transformer, tokens_BT: Tensor, dtype: torch.dtype) -> Callable[[], None]:
    attentions = [module for module in model.modules() if isinstance(module, LatentAttention)]
    optimizer = MuonClip(split_parameters(model), lr=1e-3, attentions=attentions)

    def step() -> None:
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            loss, _ = model.loss(tokens_BT[:, :-1], tokens_BT[:, 1:])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def _theirs(model: nn.Module, tokens_BT: Tensor, dtype: torch.dtype) -> Callable[[], None]:
    muon: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        plain = (
            parameter.ndim == 2
            and "embed" not in name
            and "lm_head" not in name
            and "gate.weight" not in name
        )
        (muon if plain else rest).append(parameter)
    optimizers = torch.optim.Muon(muon, lr=1e-3), torch.optim.AdamW(rest, lr=1e-3)

    def step() -> None:
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            loss = model(input_ids=tokens_BT[:, :-1], labels=tokens_BT[:, :-1], use_cache=False).loss
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()

    return step
