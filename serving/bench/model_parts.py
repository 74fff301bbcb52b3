"""Where a training step's time goes: each part of the model alone, forward and backward, times how often it occurs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from model import Transformer
from model.head import linear_cross_entropy
from model.moe import MixtureOfExperts
from optim.muonclip import MuonClip

REPEATS = 4


def parts(
    model: Transformer, optimizer: MuonClip, batch: int, length: int, dtype: torch.dtype, step_s: float
) -> dict[str, Any]:
    """By part: CPU milliseconds of a step, its share of the step, and of the time how much a part's products reach in GFLOP/s.

    A part alone finds its numbers in the cache more often than in a step; `rest` is what the sum lacks of the measured step:
    memory that a whole model's activations need, additions to the stream, and what autograd does between.
    """
    config, tokens = model.config, batch * length
    D, H = config.hidden_size, config.num_attention_heads
    stream_BTD = torch.randn(batch, length, D, requires_grad=True)
    x_BTD = torch.randn(batch, length, D, dtype=dtype, requires_grad=True)
    upstream_BTD = torch.randn(batch, length, D, dtype=dtype)
    targets_S = torch.randint(0, config.vocab_size, (tokens,))
    layer: Any = model.layers[-1]
    dense: Any = model.layers[0].mlp
    rotary_TR = model._rotary(length, x_BTD.device)
    valid_BT = torch.ones(batch, length, dtype=torch.bool)
    sparse = sum(isinstance(one.mlp, MixtureOfExperts) for one in model.layers)
    layers = len(model.layers)
    size = {name: parameter.numel() for name, parameter in layer.named_parameters()}
    attention = sum(n for name, n in size.items() if "self_attn" in name and "proj" in name)
    expert = 3 * D * config.moe_intermediate_size
    active = expert * (config.num_experts_per_tok + config.n_shared_experts) + D * config.n_routed_experts
    pairs = tokens * length / 2 * H * (config.qk_head_dim + config.v_head_dim)
    measured: dict[str, tuple[int, float, Callable[[], Tensor]]] = {
        "attention": (
            layers,
            attention * tokens + pairs,
            lambda: layer.self_attn(x_BTD, rotary_TR, valid_BT),
        ),
        "experts": (sparse, active * tokens, lambda: layer.mlp(x_BTD)),
        "dense_layer": (layers - sparse, 3 * D * config.intermediate_size * tokens, lambda: dense(x_BTD)),
        "norms": (2 * layers, 0, lambda: layer.input_layernorm(stream_BTD)),
        "head": (
            1,
            D * config.vocab_size * tokens,
            lambda: linear_cross_entropy(x_BTD.flatten(0, 1), model.lm_head.weight, targets_S),
        ),
    }
    found: dict[str, Any] = {}
    for name, (times, weights, forward) in measured.items():
        seconds = times * _forward_backward(model, forward, upstream_BTD, dtype)
        found[name] = {"ms": round(seconds * 1e3, 1), "share": round(seconds / step_s, 3)}
        if weights:
            found[name]["gflops_per_s"] = round(6e-9 * weights * times / seconds, 1)
    seconds = _optimizer(model, optimizer)
    found["optimizer"] = {"ms": round(seconds * 1e3, 1), "share": round(seconds / step_s, 3)}
    rest = step_s - sum(one["ms"] for one in found.values()) / 1e3
    found["rest"] = {"ms": round(rest * 1e3, 1), "share": round(rest / step_s, 3)}
    return found


def _forward_backward(
    model: Transformer, forward: Callable[[], Tensor], upstream_BTD: Tensor, dtype: torch.dtype
) -> float:
    """CPU seconds, the least of several."""
    best = float("inf")
    for _ in range(REPEATS):
        model.zero_grad()
        started = time.process_time()
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            out = forward()
        out.backward(upstream_BTD if out.ndim else None)
        best = min(best, time.process_time() - started)
    return best


def _optimizer(model: Transformer, optimizer: MuonClip) -> float:
    best = float("inf")
    for _ in range(REPEATS):
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        started = time.process_time()
        optimizer.step()
        best = min(best, time.process_time() - started)
    return best
