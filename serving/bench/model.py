"""Training speed of the model with MuonClip beside transformers' DeepSeek-V3 with `torch.optim.Muon`, in one run."""

from __future__ import annotations

import logging
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from model import PRESETS, Tokenizer, Transformer
from model.attention import LatentAttention
from model.heap import keep_freed_memory
from model.hf import export, load_transformers
from model.speed import DTYPES, fastest_dtype, matmul_rate, training_flops
from optim.muonclip import MuonClip
from optim.split import split_parameters

from ..settings import Settings
from .model_parts import parts
from .padding import padding, tree_batch

BATCH, LENGTH, REPEATS = 32, 256, 5
Step = Callable[[], None]


def run(settings: Settings) -> dict[str, Any]:
    """Tokens a second of forward, backward and step on the same weights, tokens and dtype; steps alternate.

    A target stands at every position. transformers' matrices go to `torch.optim.Muon`; its stacked experts, which that does not
    take, and the rest to AdamW: less work than ours, which gives Muon the experts too. Of transformers' attention and experts the
    fastest are taken. `trees` is the step on sequences with trunks and branches, as the shipped model's training has them.
    By CPU time a figure does not depend on who else uses the cores.
    """
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    keep_freed_memory()  # for both
    logging.getLogger("transformers").setLevel(logging.ERROR)
    config = PRESETS["nano"]
    dtype = fastest_dtype()
    torch.manual_seed(0)
    ours = Transformer(config)
    with tempfile.TemporaryDirectory() as folder:
        export(ours, Tokenizer.load(settings.checkpoint), folder)
        theirs = load_transformers(folder).train()
    tokens_BT = torch.randint(3, config.vocab_size, (BATCH, LENGTH + 1))
    their_step = _theirs(theirs, tokens_BT, dtype)
    chosen = _fastest_settings(theirs, their_step)
    optimizer = _optimizer(ours)
    trees = tree_batch(config.vocab_size, BATCH * LENGTH)
    steps = {
        "suresql": _ours(ours, optimizer, (tokens_BT[:, :-1], tokens_BT[:, 1:]), dtype),
        "transformers": their_step,
        "trees": _ours(ours, optimizer, trees, dtype),
    }
    wall, cpu = _alternate(steps)
    tokens = BATCH * LENGTH
    peaks = {name: matmul_rate(one, 2048) for name, one in DTYPES.items()}
    peak = max(peaks["bfloat16"], 1e-9)
    work = training_flops(config, tokens, LENGTH, tokens) / 1e9
    return {
        "threads": torch.get_num_threads(),
        "dtype": str(dtype).removeprefix("torch."),
        "transformers_with": chosen,
        "tokens_per_s": {name: round(_count(name, tokens, trees) / one) for name, one in wall.items()},
        "tokens_per_s_ratio_to_transformers": round(wall["transformers"] / wall["suresql"], 2),
        "cpu_time_ratio_to_transformers": round(cpu["transformers"] / cpu["suresql"], 2),
        "gflops_per_s": round(work / wall["suresql"], 1),
        "matmul_gflops_per_s": {name: round(one, 1) for name, one in peaks.items()},
        "share_of_matmul_peak": round(work / wall["suresql"] / peak, 3),
        "share_of_matmul_peak_by_cpu_time": round(work / cpu["suresql"] / _matmul_rate_by_cpu_time(), 3),
        "share_of_fastest_matmul": round(work / wall["suresql"] / max(peaks.values()), 3),
        "cpu_seconds": {name: round(one, 3) for name, one in cpu.items()},
        "parts": parts(ours, optimizer, BATCH, LENGTH, dtype, cpu["suresql"]),
        "padding": padding(settings, ours),
    }


def _alternate(steps: Mapping[str, Step]) -> tuple[dict[str, float], dict[str, float]]:
    """Median seconds of each step by the clock, and of all threads together."""
    wall: dict[str, list[float]] = {name: [] for name in steps}
    cpu: dict[str, list[float]] = {name: [] for name in steps}
    for repeat in range(REPEATS + 2):  # the first two warm up
        for name, step in steps.items():
            started, cpu_started = time.perf_counter(), time.process_time()
            step()
            if repeat > 1:
                wall[name].append(time.perf_counter() - started)
                cpu[name].append(time.process_time() - cpu_started)
    return (
        {name: statistics.median(some) for name, some in wall.items()},
        {name: statistics.median(some) for name, some in cpu.items()},
    )


def _count(name: str, tokens: int, trees: tuple[Tensor, ...]) -> int:
    """Tokens of a step, padding left out."""
    return int((trees[0] != 0).sum()) if name == "trees" else tokens


def _matmul_rate_by_cpu_time(size: int = 2048, repeats: int = 10) -> float:
    """GFLOP a second of one thread's time in a bfloat16 product of all threads: the best of several."""
    a, b = (torch.randn(size, size).bfloat16() for _ in range(2))
    best = float("inf")
    for _ in range(repeats):
        started = time.process_time()
        torch.mm(a, b)
        best = min(best, time.process_time() - started)
    return 2 * size**3 / best / 1e9


def _fastest_settings(model: Any, step: Step) -> dict[str, Any]:
    """Set transformers' experts and attention to what is fastest here; what was chosen, and CPU seconds of a step with each."""
    seconds: dict[str, float] = {}

    def fastest(kind: str, names: tuple[str, ...], put: Callable[[str], None]) -> str:
        for name in names:
            put(name)
            step()
            started = time.process_time()
            step()
            seconds[f"{name} {kind}"] = time.process_time() - started
        best = min(names, key=lambda name: seconds[f"{name} {kind}"])
        put(best)
        return best

    # batched_mm is left out: it copies the weights of its experts for each token.
    experts = fastest("experts", ("grouped_mm", "eager"), model.set_experts_implementation)
    attention = fastest("attention", ("sdpa", "eager"), model.set_attn_implementation)
    return {
        "experts": experts,
        "attention": attention,
        "cpu_seconds": {name: round(one, 3) for name, one in seconds.items()},
    }


def _optimizer(model: Transformer) -> MuonClip:
    attentions = [module for module in model.modules() if isinstance(module, LatentAttention)]
    return MuonClip(split_parameters(model), lr=1e-3, attentions=attentions)


def _ours(model: Transformer, optimizer: MuonClip, batch: tuple[Tensor, ...], dtype: torch.dtype) -> Step:
    def step() -> None:
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            loss, _ = model.loss(*batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def _theirs(model: nn.Module, tokens_BT: Tensor, dtype: torch.dtype) -> Step:
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
