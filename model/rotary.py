"""Rotary positions (arXiv 2104.09864) on interleaved pairs, with YaRN's frequencies where the config asks."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from model.config import ModelConfig, Yarn


def rotary_table(config: ModelConfig, length: int) -> Tensor:
    """Complex [T, R/2], R = qk_rope_head_dim: at position t, pair i turns by the angle t * frequency_i."""
    size = config.qk_rope_head_dim
    frequencies = 1.0 / config.rope_theta ** (torch.arange(0, size, 2, dtype=torch.float32) / size)
    amplitude = 1.0
    if config.rope_scaling is not None:
        frequencies = _yarn_frequencies(frequencies, config.rope_theta, config.rope_scaling)
        scaling = config.rope_scaling
        amplitude = yarn_mscale(scaling.factor, scaling.mscale) / yarn_mscale(
            scaling.factor, scaling.mscale_all_dim
        )
    angles = torch.arange(length, dtype=torch.float32)[:, None] * frequencies
    return torch.polar(torch.full_like(angles, amplitude), angles)


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """Turn pairs (x0, x1), (x2, x3), ... of the last dimension; x is [B, T, H, R], the table [T, R/2] or [B, T, R/2].

    The result keeps the pairs' order, where transformers sorts evens before odds: the same permutation of
    query and key, so that their products agree.
    """
    wide = x if x.dtype in (torch.float32, torch.float64) else x.float()
    pairs = torch.view_as_complex(wide.unflatten(-1, (-1, 2)))
    turned = torch.view_as_real(pairs * table.unsqueeze(-2).to(pairs.dtype)).flatten(-2)
    return turned.to(x.dtype)


def softmax_scale(config: ModelConfig) -> float:
    """1 / sqrt(head size), times mscale squared under YaRN (DeepSeek-V3's attention)."""
    scale = config.qk_head_dim**-0.5
    if config.rope_scaling is not None:
        scale *= yarn_mscale(config.rope_scaling.factor, config.rope_scaling.mscale_all_dim) ** 2
    return scale


def yarn_mscale(factor: float, mscale: float) -> float:
    """YaRN's attention temperature: 0.1 * mscale * ln(factor) + 1 (arXiv 2309.00071, eq. 22)."""
    return 1.0 if factor <= 1 else 0.1 * mscale * math.log(factor) + 1.0


def _yarn_frequencies(frequencies: Tensor, theta: float, yarn: Yarn) -> Tensor:
    """Slow pairs are interpolated, fast ones left, with a linear ramp between the two (NTK by parts)."""
    size = 2 * len(frequencies)

    def pair_that_turns(times: float) -> float:
        """Index of the pair that makes so many turns within the original context."""
        return (
            size
            * math.log(yarn.original_max_position_embeddings / (times * 2 * math.pi))
            / (2 * math.log(theta))
        )

    low = max(math.floor(pair_that_turns(yarn.beta_fast)), 0)
    high = min(math.ceil(pair_that_turns(yarn.beta_slow)), size - 1)
    width = high - low if high != low else 0.001
    interpolated = ((torch.arange(size // 2, dtype=torch.float32) - low) / width).clamp(0, 1)
    return frequencies / yarn.factor * interpolated + frequencies * (1 - interpolated)
