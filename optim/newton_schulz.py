"""Newton-Schulz: the nearest (semi-)orthogonal matrix, from matrix products alone.

Muon's update is U V^T of the momentum's singular value decomposition U S V^T. Polynomials of the matrix bring every singular
value that is not tiny near 1, and near is enough (Keller Jordan, kellerjordan.github.io/posts/muon; Kimi K2, arXiv 2507.20534,
Algorithm 1). The ways to it here, for a stack of matrices `[B, n, m]`:

three_pass      three polynomials of degree 9 (`optim.two_pass`), 18 products where quintics take 25: the default
two_pass        two, of degrees 17 and 33, 15 products: the fastest, less exact on weak directions
quintic         X <- a X + b (X X^T) X + c (X X^T)^2 X, five times: what `torch.optim.Muon` and Kimi K2 do
polar_express   quintics with other coefficients at each step (Amsel et al., arXiv 2505.16932), five times
gram            the quintics, iterated on the smaller Gram matrix, which is taken anew after two steps for the rounding's sake

`suresql bench optimizer` prints the error of each on several kinds of matrices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from optim.errors import OptimError
from optim.fast_dtype import agreed_dtype, fast_dtype
from optim.two_pass import EPS, PASSES, in_passes
from optim.workspace import Workspace

Method = Literal["three_pass", "two_pass", "quintic", "polar_express", "gram"]
METHODS: tuple[str, ...] = get_args(Method)
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
STEPS = 5
_RESTART = 2  # Gram steps before the Gram matrix is taken anew

_PAPER = (  # Polar Express, arXiv 2505.16932, Algorithm 1
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
    (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
    (1.8750014808534479, -1.2500016453999487, 0.3750001645474248),
    (1.875, -1.25, 0.375),
)
_SAFETY = 1.01  # the paper's: every step but the last shrinks its argument, for what bfloat16 may add
POLAR_EXPRESS = (
    *((a / _SAFETY, b / _SAFETY**3, c / _SAFETY**5) for a, b, c in _PAPER[:-1]),
    _PAPER[-1],
)


def newton_schulz(
    matrices: Tensor, steps: int = STEPS, dtype: torch.dtype | None = None, method: Method = "quintic"
) -> Tensor:
    """Orthogonalise each matrix of a stack `[..., n, m]`; the result has the shape given, in `dtype`.

    `dtype` is what the products are computed in, by default what is fast on the device (`fast_dtype`). A
    matrix of zeros stays zero. `three_pass` and `two_pass` have no `steps`.
    """
    *stack, n, m = matrices.shape
    x_Bnm = matrices.reshape(-1, n, m).to(dtype or fast_dtype(matrices.device), copy=True)
    return orthogonalise(x_Bnm, method, steps, 1.0, Workspace()).reshape(*stack, n, m)


def orthogonalise(x_Bnm: Tensor, method: str, steps: int, scale: float, space: Workspace) -> Tensor:
    """`scale` times the orthogonalised matrices, in the memory of x_Bnm or of `space`; x_Bnm is overwritten."""
    if method in PASSES:
        return in_passes(PASSES[method], x_Bnm, scale, space)
    coefficients = step_coefficients(method, steps)
    precision = torch.promote_types(x_Bnm.dtype, torch.float32)
    norm_B11 = torch.linalg.vector_norm(x_Bnm, dim=(1, 2), keepdim=True, dtype=precision)
    x_Bnm.div_(norm_B11.mul_(_SAFETY if method == "polar_express" else 1.0).clamp_(min=EPS).to(x_Bnm.dtype))
    wide = x_Bnm.shape[1] <= x_Bnm.shape[2]
    x_Bsl = x_Bnm if wide else x_Bnm.mT  # the Gram matrix of the shorter side is the cheaper one
    if method == "gram":
        x_Bsl = _by_gram(_by_gram(x_Bsl, coefficients[:_RESTART]), coefficients[_RESTART:])
    else:
        x_Bsl = _by_quintics(x_Bsl, coefficients)
    return (x_Bsl if wide else x_Bsl.mT).mul_(scale)


def step_coefficients(method: str, steps: int) -> Sequence[tuple[float, float, float]]:
    """(a, b, c) of each quintic; Polar Express repeats its last one."""
    if method not in METHODS:
        raise OptimError(f"ns_method={method!r} is not known; there are {', '.join(METHODS)}")
    if method == "polar_express":
        return [POLAR_EXPRESS[min(step, len(POLAR_EXPRESS) - 1)] for step in range(steps)]
    return [COEFFICIENTS] * steps


def _by_quintics(x_Bsl: Tensor, coefficients: Sequence[tuple[float, float, float]]) -> Tensor:
    for a, b, c in coefficients:
        gram_Bss = torch.bmm(x_Bsl, x_Bsl.mT)
        polynomial_Bss = torch.baddbmm(gram_Bss, gram_Bss, gram_Bss, beta=b, alpha=c)
        x_Bsl = torch.baddbmm(x_Bsl, polynomial_Bss, x_Bsl, beta=a)
    return x_Bsl


def _by_gram(x_Bsl: Tensor, coefficients: Sequence[tuple[float, float, float]]) -> Tensor:
    """The same steps on R = X X^T: h = a + b R + c R^2, Q <- Q h, R <- h R h; then X <- Q X."""
    if not coefficients:
        return x_Bsl
    r_Bss = torch.bmm(x_Bsl, x_Bsl.mT)
    q_Bss: Tensor | None = None
    for step, (a, b, c) in enumerate(coefficients):
        h_Bss = torch.baddbmm(r_Bss, r_Bss, r_Bss, beta=b, alpha=c)
        h_Bss.diagonal(dim1=1, dim2=2).add_(a)
        q_Bss = h_Bss if q_Bss is None else torch.bmm(q_Bss, h_Bss)
        if step < len(coefficients) - 1:
            r_Bss = torch.bmm(torch.bmm(h_Bss, r_Bss), h_Bss)
    assert q_Bss is not None
    return torch.bmm(q_Bss, x_Bsl)


def newton_schulz_reference(matrix: Tensor, steps: int = STEPS) -> Tensor:
    """The quintics for one matrix `[n, m]`, in float32, as the formula is written: what tests compare against."""
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


__all__ = [
    "METHODS",
    "Method",
    "agreed_dtype",
    "fast_dtype",
    "newton_schulz",
    "newton_schulz_reference",
    "orthogonalise",
]
