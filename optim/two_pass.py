"""Two or three polynomials of high degree instead of five quintics: the same orthogonalisation from fewer products.

Newton-Schulz multiplies X by a polynomial of its Gram matrix A = X X^T; five quintics f_i(x) = x h_i(x^2), each of degree 2 in A,
cost 25 n^3 for a matrix n x 2n (in units of 2 n^3 operations). Polynomials of one matrix commute, so that one of degree 2^k
needs k products only, if it is built by squaring::

    y_1 = (A - c)^2 + b,   y_j = y_(j-1)^2 + beta_j y_i + gamma_j  (i < j),   h = alpha y_k-1^2 + beta y_i + gamma

Three passes of degree 2^2 in A (9 in X) cost 18; two, of degrees 2^3 and 2^4 (17 and 33 in X), cost 15. Every intermediate
stays of the size of its terms, which bfloat16 needs: a sum of monomials cancels to nothing. Between the passes the Gram matrix
is taken anew; carrying it along would be fewer products and multiply its rounding by h^2.

The constants (`optim.two_pass_fit` prints them) minimise the largest error on [1/REACH, 1] of the first pass, then that of the
next on the range of the one before: the greedy choice, which is the best one (Polar Express, arXiv 2505.16932, theorem 3.1).
Every polynomial of degree 4 has the form above, so that the three are the best of their degree; of degree 8 it comes within
0.0004 of the best error, of degree 16 within 0.11 (0.37, not 0.26), for want of free coefficients. That is why two passes are not
the default: weak directions of real momenta are served up to a fifth worse than by quintics.

The scale is the Schatten 4-norm, ||A||_F^(1/2): never below the largest singular value and up to n^(1/4) times closer to it
than the Frobenius norm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from optim.workspace import Workspace

EPS = 1e-7
HEADROOM = 1.01  # of the scale, for what rounding may add to the largest singular value


@dataclass(frozen=True)
class Squarings:
    """h(A), built as above: `shift` is c, `offset` b; one (i, beta, gamma) a further squaring, of which the last is h's own."""

    shift: float
    offset: float
    terms: tuple[tuple[int, float, float], ...]
    factor: float


REACH = 500
FIRST = Squarings(
    0.5355479392338758,
    -0.11460775992417298,
    ((0, 0.003855211607422564, -0.008888539011156923), (1, 0.6872409375874226, 0.1582087981413952)),
    63091.37951893622,
)
SECOND = Squarings(
    2.8023730231697783,
    -3.506167368963164,
    (
        (0, -1.6959103049443913, -5.157422665775968),
        (0, 0.7578124685222444, -30.394163019547882),
        (1, 0.2355458436522658, 1.1026579136443948),
    ),
    0.00039729087971472025,
)


THREE_REACH = 500
THREE = (
    Squarings(
        0.5746158414509093,
        -0.09645132027444847,
        ((0, -0.04247064737401729, 0.06933110097418727),),
        272.1542610486444,
    ),
    Squarings(
        2.3742371266640467,
        -1.6104106228797956,
        ((0, -0.03285877208859844, 0.22172340083349518),),
        0.3930740493105227,
    ),
    Squarings(
        2.05845784666848,
        -0.9659232379289406,
        ((0, -0.15259178693434983, 0.8957677756020916),),
        0.308651392915085,
    ),
)
PASSES = {"two_pass": (FIRST, SECOND), "three_pass": THREE}


def in_passes(passes: Sequence[Squarings], x_Bnm: Tensor, scale: float, space: Workspace) -> Tensor:
    """The orthogonalised matrices times `scale`, in memory of x_Bnm, which is overwritten, or of `space`."""
    other_Bnm = space.take("turned", tuple(x_Bnm.shape), x_Bnm.dtype, x_Bnm.device)
    for number, polynomial in enumerate(passes):
        gram_Bss = _gram(x_Bnm, space)
        if number == 0:
            squared_B11 = torch.linalg.vector_norm(gram_Bss, dim=(1, 2), keepdim=True, dtype=torch.float64)
            inverse_B11 = (HEADROOM * squared_B11.sqrt()).clamp_(min=EPS).reciprocal_()
            gram_Bss.mul_(inverse_B11.square().to(x_Bnm.dtype))
        h_Bss = evaluate(polynomial, gram_Bss, scale if number == len(passes) - 1 else 1.0, space)
        if number == 0:
            h_Bss.mul_(inverse_B11.to(x_Bnm.dtype))
        x_Bnm, other_Bnm = _apply(h_Bss, x_Bnm, other_Bnm), x_Bnm
    return x_Bnm


def evaluate(polynomial: Squarings, a_Bss: Tensor, scale: float, space: Workspace) -> Tensor:
    """scale * h(A); a_Bss is overwritten."""
    _diagonal(a_Bss).sub_(polynomial.shift)  # from here on a is A - c, which the constants below make up for
    powers = [a_Bss, torch.bmm(a_Bss, a_Bss, out=_like(a_Bss, "power 1", space))]
    _diagonal(powers[1]).add_(polynomial.offset)
    last = len(polynomial.terms) - 1
    for j, (i, beta, gamma) in enumerate(polynomial.terms):
        alpha, size = (polynomial.factor, scale) if j == last else (1.0, 1.0)
        out = _like(a_Bss, f"power {j + 2}", space)
        torch.baddbmm(powers[i], powers[-1], powers[-1], beta=beta * size, alpha=alpha * size, out=out)
        _diagonal(out).add_(size * (gamma + (beta * polynomial.shift if i == 0 else 0.0)))
        powers.append(out)
    return powers[-1]


def _gram(x_Bnm: Tensor, space: Workspace) -> Tensor:
    """X X^T, or X^T X where that is the smaller one."""
    batch, n, m = x_Bnm.shape
    side = min(n, m)
    out = space.take("gram", (batch, side, side), x_Bnm.dtype, x_Bnm.device)
    return torch.bmm(x_Bnm, x_Bnm.mT, out=out) if n <= m else torch.bmm(x_Bnm.mT, x_Bnm, out=out)


def _apply(h_Bss: Tensor, x_Bnm: Tensor, out_Bnm: Tensor) -> Tensor:
    wide = x_Bnm.shape[1] <= x_Bnm.shape[2]
    return torch.bmm(h_Bss, x_Bnm, out=out_Bnm) if wide else torch.bmm(x_Bnm, h_Bss, out=out_Bnm)


def _like(a_Bss: Tensor, name: str, space: Workspace) -> Tensor:
    return space.take(name, tuple(a_Bss.shape), a_Bss.dtype, a_Bss.device)


def _diagonal(a_Bss: Tensor) -> Tensor:
    return a_Bss.diagonal(dim1=-2, dim2=-1)
