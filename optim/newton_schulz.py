"""Newton-Schulz: the nearest (semi-)orthogonal matrix, from matrix products alone.

Muon's update is U V^T of the momentum's singular value decomposition U S V^T. Five steps of the quintic X <-
a X + b (X X^T) X + c (X X^T)^2 X, on M / ||M||_F, bring every singular value that is not tiny into about
[0.7, 1.2], which trains as well as exactly 1 (Keller Jordan, kellerjordan.github.io/posts/muon; Kimi K2,
arXiv 2507.20534, Algorithm 1).
"""

from __future__ import annotations

import math
import time
from functools import cache

import torch
import torch.distributed as dist
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
STEPS = 5
EPS = 1e-7
WORTH_ROUNDING = 1.25  # how much faster bfloat16 must be to be taken


@cache
def fast_dtype(device: torch.device) -> torch.dtype:
    """The dtype in which `device` multiplies matrices fastest at a precision that Newton-Schulz bears.

    Measured once per process on a CPU (some 20 ms): which of bfloat16 and float32 is faster cannot be told
    from its features. Ranks of one group, and a resumed run, need one answer: see `agreed_dtype`.
    """
    if device.type != "cpu":
        return torch.bfloat16
    faster = _product_seconds(torch.float32) / _product_seconds(torch.bfloat16)
    return torch.bfloat16 if faster > WORTH_ROUNDING else torch.float32


def agreed_dtype(device: torch.device) -> torch.dtype:
    """`fast_dtype`, the same on every rank of the process group; every rank must call it."""
    dtype = fast_dtype(device)
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        votes = torch.tensor(float(dtype == torch.bfloat16), device=device)
        dist.all_reduce(votes, op=dist.ReduceOp.MIN)
        dtype = torch.bfloat16 if votes > 0 else torch.float32
    return dtype


def _product_seconds(dtype: torch.dtype) -> float:
    """The best of a few products: what disturbs a measurement only ever makes it slower."""
    left = torch.full((8, 192, 192), 0.5, dtype=dtype)
    out = torch.empty_like(left)
    best = math.inf
    for _ in range(6):
        started = time.perf_counter()
        torch.bmm(left, left, out=out)
        best = min(best, time.perf_counter() - started)
    return best


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
