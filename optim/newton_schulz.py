"""Newton-Schulz: the nearest (semi-)orthogonal matrix, from matrix products alone.

Muon's update is U V^T of the momentum's singular value decomposition U S V^T. Five steps of the quintic X <-
a X + b (X X^T) X + c (X X^T)^2 X, on M / ||M||_F, bring every singular value that is not tiny into about
[0.7, 1.2], which trains as well as exactly 1 (Keller Jordan, kellerjordan.github.io/posts/muon; Kimi K2,
arXiv 2507.20534, Algorithm 1).
"""

from __future__ import annotations

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
STEPS = 5
EPS = 1e-7


def fast_dtype(device: torch.device) -> torch.dtype:
    """The dtype in which `device` multiplies matrices fastest at a precision that Newton-Schulz bears.

    A CPU with AMX multiplies bfloat16 three times as fast as float32; one with AVX512-bf16 alone, half as
    fast.
    """
    if device.type == "cpu" and not torch.cpu._is_amx_tile_supported():
        return torch.float32
    return torch.bfloat16


def newton_schulz(matrices: Tensor, steps: int = STEPS, dtype: torch.dtype | None = None) -> Tensor:
    """Orthogonalise each matrix of a stack `[..., n, m]`; the result has the shape given, in `dtype`.

    `dtype` is what the products are computed in, by default what is fast on the device (`fast_dtype`). A
    matrix of zeros stays zero.
    """
    a, b, c = COEFFICIENTS
    *stack, n, m = matrices.shape
    x = matrices.to(dtype or fast_dtype(matrices.device)).reshape(-1, n, m)
    if n > m:  # the Gram matrix of the shorter side is the cheaper one
        x = x.mT
    x = x / torch.linalg.vector_norm(x, dim=(-2, -1), keepdim=True).clamp(min=EPS)
    for _ in range(steps):
        gram = x @ x.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    if n > m:
        x = x.mT
    return x.reshape(*stack, n, m)


def newton_schulz_reference(matrix: Tensor, steps: int = STEPS) -> Tensor:
    """The same for one matrix `[n, m]`, in float32, as the formula is written: what tests compare against."""
    a, b, c = COEFFICIENTS
    x = matrix.float()
    x = x / max(float(x.norm()), EPS)
    for _ in range(steps):
        if x.shape[0] <= x.shape[1]:
            gram = x @ x.T
            x = a * x + b * gram @ x + c * gram @ gram @ x
        else:
            gram = x.T @ x
            x = a * x + b * x @ gram + c * x @ gram @ gram
    return x
