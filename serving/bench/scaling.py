"""Loss against tokens and size: runs of several sizes, each with a schedule of its own, a fitted law, and what it foretells."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from model import PRESETS, ModelConfig

from ..errors import EvaluationError
from ..settings import Settings

SHAPES: dict[str, dict[str, int]] = {
    "xs": {"hidden_size": 96, "num_hidden_layers": 4, "kv_lora_rank": 64, "intermediate_size": 384,
           "moe_intermediate_size": 64, "num_attention_heads": 2},
    "s": {"hidden_size": 160, "num_hidden_layers": 5, "kv_lora_rank": 96, "intermediate_size": 640,
          "moe_intermediate_size": 96, "num_attention_heads": 3},
    "nano": {},
}  # fmt: skip
"""What each size changes of the preset nano."""
TOKENS = (200_000, 400_000, 800_000)
BATCH = 4096
DATA = {"spider": 1, "synthetic": 12_000, "invented": 16_000, "invented_databases": 400}
GPU_FLOPS = 4e14
"""What one H100 does in bf16 at 40% of its peak of 989 TFLOP/s; assumed, not measured here."""
DAY = 86_400


@dataclass(frozen=True)
class Point:
    """The held-out loss of one run: nats a learned token; `parameters` are active ones without the embeddings."""

    size: str
    parameters: int
    tokens: int
    loss: float


@dataclass(frozen=True)
class Law:
    """loss = floor + (n0 / parameters)^alpha + (d0 / tokens)^beta (Hoffmann et al. 2022, arXiv 2203.15556, equation 2)."""

    floor: float
    n0: float
    alpha: float
    d0: float
    beta: float

    def __call__(self, parameters: float, tokens: float) -> float:
        return float(self.floor + (self.n0 / parameters) ** self.alpha + (self.d0 / tokens) ** self.beta)


def run(settings: Settings) -> dict[str, Any]:
    """Train what is not in the cache yet, fit the law, foretell a GPU-day. The runs are kept beside SURESQL_PREDICTIONS.

    Held-out rows are other questions on the databases of training: a loss, not an accuracy on new databases.
    """
    if settings.data is None or settings.predictions is None:
        raise EvaluationError(
            "The benchmark trains on the data sets and keeps its runs.",
            "Set SURESQL_DATA to their folder and SURESQL_PREDICTIONS to a file to keep the runs in.",
        )
    points = _points(settings.data, Path(settings.predictions), settings.threads)
    law = fit(points)
    return {
        "points": [asdict(point) for point in points],
        "law": {name: round(value, 4) for name, value in asdict(law).items()},
        "largest_error_of_fit": round(max(abs(law(p.parameters, p.tokens) - p.loss) for p in points), 4),
        "gpu_day": foretell(law, GPU_FLOPS * DAY),
    }


def fit(points: list[Point]) -> Law:
    """Least squares on the logarithm of the loss, from several starts. Raises EvaluationError for fewer than six points."""
    if len(points) < 6:
        raise EvaluationError(
            f"There are {len(points)} runs; the law has five parameters.", "Make at least six."
        )
    parameters = np.array([p.parameters for p in points], dtype=float)
    tokens = np.array([p.tokens for p in points], dtype=float)
    logs = np.log([p.loss for p in points])

    def off(x: NDArray[np.float64]) -> NDArray[np.float64]:
        size = np.exp(x[2] * (x[1] - np.log(parameters)))
        data = np.exp(x[4] * (x[3] - np.log(tokens)))
        return np.log(np.exp(x[0]) + size + data) - logs

    starts = [
        (floor, np.log(1e4), a, np.log(1e5), b)
        for floor in (-4.0, -1.5)
        for a in (0.2, 0.5)
        for b in (0.2, 0.5)
    ]
    bounds = ([-9, 0, 0.05, 0, 0.05], [2, 30, 2.0, 30, 2.0])
    found = min((least_squares(off, start, bounds=bounds) for start in starts), key=lambda one: one.cost)
    floor, n0, alpha, d0, beta = found.x
    return Law(float(np.exp(floor)), float(np.exp(n0)), float(alpha), float(np.exp(d0)), float(beta))


def foretell(law: Law, flops: float) -> dict[str, float]:
    """The best split of a budget of 6 x parameters x tokens, by the law; far outside what it was fitted on."""
    sizes = np.geomspace(1e5, 1e12, 2000)
    losses = [law(size, flops / (6 * size)) for size in sizes]
    best = float(sizes[int(np.argmin(losses))])
    return {
        "flops": flops,
        "parameters": round(best),
        "tokens": round(flops / (6 * best)),
        "loss": round(min(losses), 4),
    }


def _points(data: Path, cache: Path, threads: int | None) -> list[Point]:
    """All runs, those of the cache as they stand there."""
    known = [Point(**json.loads(line)) for line in cache.read_text().splitlines()] if cache.exists() else []
    done = {(point.size, point.tokens): point for point in known}
    for tokens in TOKENS:
        for size in SHAPES:
            if (size, tokens) not in done:
                point = _train(size, tokens, data, cache.with_suffix(".runs"), threads)
                with cache.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(point)) + "\n")
                done[size, tokens] = point
    return [done[size, tokens] for size in SHAPES for tokens in TOKENS]


def _train(size: str, tokens: int, data: Path, folder: Path, threads: int | None) -> Point:
    """One run from scratch in a process of its own: `optim.train` is a script. The tokenised data are shared by all."""
    steps = tokens // BATCH
    config: dict[str, dict[str, Any]] = {
        "model": {"preset": "nano", **SHAPES[size]},
        "data": {"root": str(data), **DATA},
        "train": {
            "steps": steps, "batch_tokens": BATCH, "max_length": 768, "lr": 4e-3, "warmup": max(steps // 20, 5),
            "decay_fraction": 0.5, "checkpoint_every": 0, "eval_every": steps, "eval_examples": 256, "threads": threads or 0,
        },
        "output": {"run": str(folder)},
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "config.toml"
    file.write_text(_toml(config), encoding="utf-8")
    command = [sys.executable, "-m", "optim.train", "--config", str(file), "--fresh"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = (
        [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        if not ended.returncode
        else []
    )
    losses = [line["eval_loss"] for line in lines if "eval_loss" in line]
    if not losses:
        raise EvaluationError(
            f"The run {size} of {tokens} tokens failed: {ended.stderr[-500:]}", f"Try {command}."
        )
    fields = {**PRESETS["nano"].to_json(), **SHAPES[size]}
    return Point(
        size, ModelConfig.from_json(fields).parameter_count().active_non_embedding, tokens, losses[-1]
    )


def _toml(config: dict[str, dict[str, Any]]) -> str:
    return "\n".join(
        f"[{section}]\n" + "\n".join(f"{key} = {json.dumps(value)}" for key, value in values.items())
        for section, values in config.items()
    )
