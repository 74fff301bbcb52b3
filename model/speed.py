"""How fast does a model train here? `python -m model.speed --preset nano --batch 32 --length 256`.

On a busy machine set OMP_WAIT_POLICY=passive, here and in training: threads that spin while another process
has their core cost a factor of ten. cpu_seconds, of all threads together, is what a step costs by itself.
"""

from __future__ import annotations

import argparse
import json
import time

import torch

from model.attention import LatentAttention
from model.config import PRESETS, ModelConfig
from model.transformer import Transformer

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def matmul_rate(dtype: torch.dtype, size: int = 1024, repeats: int = 10) -> float:
    """GFLOP/s of a square matrix product on this machine's CPU: the best of `repeats`."""
    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    best = float("inf")
    for _ in range(repeats + 1):
        start = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best / 1e9


def fastest_dtype() -> torch.dtype:
    """The dtype in which this CPU multiplies matrices fastest: not bfloat16 everywhere that has it."""
    return max(DTYPES.values(), key=matmul_rate)


def training_flops(config: ModelConfig, tokens: int, length: int, targets: int) -> float:
    """Operations of forward and backward: 6 per active weight and token, causal attention, the head."""
    products = 6.0 * config.parameter_count().active_non_embedding * tokens
    pairs = tokens * length / 2
    attention = 6.0 * config.num_hidden_layers * config.num_attention_heads * pairs
    attention *= config.qk_head_dim + config.v_head_dim
    return products + attention + 6.0 * config.vocab_size * config.hidden_size * targets


def measure(
    config: ModelConfig, batch: int, length: int, dtype: torch.dtype, steps: int, track: bool
) -> dict:
    """Tokens/s and GFLOP/s of forward and backward with a target at every position."""
    torch.manual_seed(0)
    model = Transformer(config)
    for module in model.modules():
        if isinstance(module, LatentAttention):
            module.track_max_logits = track
    tokens = torch.randint(3, config.vocab_size, (batch, length + 1))
    times, cpu_times = [], []
    for _ in range(steps + 1):  # the first one warms up
        model.zero_grad(set_to_none=True)
        start, cpu_start = time.perf_counter(), time.process_time()
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            loss, targets = model.loss(tokens[:, :-1], tokens[:, 1:])
        loss.backward()
        times.append(time.perf_counter() - start)
        cpu_times.append(time.process_time() - cpu_start)
    seconds = sorted(times[1:])[steps // 2]
    rate = training_flops(config, batch * length, length, targets) / seconds / 1e9
    peak = matmul_rate(dtype, 2048)
    return {
        "dtype": str(dtype).removeprefix("torch."),
        "batch": batch,
        "length": length,
        "seconds": round(seconds, 3),
        "cpu_seconds": round(sorted(cpu_times[1:])[steps // 2], 3),
        "tokens_per_s": round(batch * length / seconds),
        "gflops": round(rate, 1),
        "matmul_gflops": round(peak, 1),
        "share": round(rate / peak, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure forward and backward of a preset on random tokens.")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="nano")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--dtype", choices=[*DTYPES, "both", "fastest"], default="fastest")
    parser.add_argument("--track-max-logits", action="store_true", help="with QK-clip's second QK^T pass")
    options = parser.parse_args()
    dtypes = {"both": list(DTYPES.values()), "fastest": [fastest_dtype()]}.get(options.dtype) or [
        DTYPES[options.dtype]
    ]
    for dtype in dtypes:
        shape = (options.batch, options.length, dtype, options.steps, options.track_max_logits)
        print(json.dumps({"preset": options.preset, **measure(PRESETS[options.preset], *shape)}))


if __name__ == "__main__":
    main()
