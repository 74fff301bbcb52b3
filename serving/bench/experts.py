"""How the cost of a mixture of experts grows with their number at a constant active size, with transformers' beside it."""

from __future__ import annotations

import dataclasses
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DeepseekV3Config
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3MoE

from model import PRESETS
from model.heap import keep_freed_memory
from model.hf import hf_config
from model.moe import MixtureOfExperts
from model.speed import fastest_dtype

from ..errors import EvaluationError
from ..settings import Settings

COUNTS = (8, 16, 32, 64, 128, 256)
TOKENS, REPEATS = 8192, 3
PLOT = "SURESQL_BENCH_PLOT"


def run(settings: Settings) -> dict[str, Any]:
    """CPU seconds of one layer's forward and backward pass, nano's with 8 to 256 experts of which 2 are active, on 8,192 tokens.

    Steps alternate; tokens are new at each. Of transformers' `experts` implementations the faster is taken at each count. Where
    the environment's SURESQL_BENCH_PLOT names a file (.svg or .png), the figure is drawn there; that needs the extra `plots`.
    """
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    plot = os.environ.get(PLOT)
    if plot:
        _pyplot()  # a missing library is said before the work
    keep_freed_memory()
    dtype = fastest_dtype()
    rows = [_measure(count, dtype) for count in COUNTS]
    if plot:
        _draw(rows, Path(plot))
    return {"tokens": TOKENS, "dtype": str(dtype).removeprefix("torch."), "by_experts": rows, "plot": plot}


def _measure(count: int, dtype: torch.dtype) -> dict[str, Any]:
    torch.manual_seed(0)
    config = dataclasses.replace(PRESETS["nano"], n_routed_experts=count)
    ours = MixtureOfExperts(config)
    their_config: Any = DeepseekV3Config  # takes more than its signature says
    layers: dict[str, nn.Module] = {"suresql": ours}
    for implementation in ("grouped_mm", "eager"):
        theirs = DeepseekV3MoE(their_config(**hf_config(config), experts_implementation=implementation))
        layers[f"transformers_{implementation}"] = theirs
    for layer in layers.values():
        for parameter in layer.parameters():
            nn.init.normal_(parameter, 0.0, 0.02)
    seconds: dict[str, list[float]] = {name: [] for name in layers}
    for repeat in range(REPEATS + 1):  # the first warms up
        x_BTD = torch.randn(1, TOKENS, config.hidden_size, dtype=dtype, requires_grad=True)
        for name, layer in layers.items():
            started = time.process_time()
            _forward_backward(layer, x_BTD, dtype)
            if repeat:
                seconds[name].append(time.process_time() - started)
    found = {name: statistics.median(some) for name, some in seconds.items()}
    best = min(second for name, second in found.items() if name != "suresql")
    return {
        "experts": count,
        "cpu_ms": {name: round(second * 1e3, 1) for name, second in found.items()},
        "ratio_to_transformers": round(best / found["suresql"], 2),
    }


def _forward_backward(layer: Callable[[Tensor], Any], x_BTD: Tensor, dtype: torch.dtype) -> None:
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        out = layer(x_BTD)
    out.sum().backward()


def _pyplot() -> Any:
    try:
        import matplotlib

        matplotlib.use("agg")
        import matplotlib.pyplot as pyplot
    except ImportError as error:
        raise EvaluationError(
            f"{PLOT} asks for a figure, but matplotlib is not installed.", "pip install 'suresql[plots]'"
        ) from error
    return pyplot


def _draw(rows: list[dict[str, Any]], file: Path) -> None:
    pyplot = _pyplot()
    pyplot.rcParams["svg.hashsalt"] = "suresql"  # the same figures make the same file
    figure, axes = pyplot.subplots(figsize=(6, 3.6))
    counts = [row["experts"] for row in rows]
    for name in rows[0]["cpu_ms"]:
        axes.plot(counts, [row["cpu_ms"][name] for row in rows], marker="o", label=name.replace("_", ", "))
    axes.set(xscale="log", yscale="log", xlabel="routed experts, 2 active", ylabel="CPU ms of one layer")
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.set_title(f"Forward and backward of {TOKENS:,} tokens", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)
