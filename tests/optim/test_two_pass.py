"""The polynomials of two and three passes against the singular value decomposition, beside the five quintics they stand for."""

import pytest
import torch

from optim import newton_schulz
from optim.newton_schulz import METHODS
from optim.two_pass import PASSES, REACH, THREE_REACH, Squarings, evaluate
from optim.workspace import Workspace


def scalar(polynomial: Squarings, a: torch.Tensor) -> torch.Tensor:
    """h on numbers, as the module's docstring writes it."""
    powers = [a, (a - polynomial.shift) ** 2 + polynomial.offset]
    for j, (i, beta, gamma) in enumerate(polynomial.terms):
        factor = polynomial.factor if j == len(polynomial.terms) - 1 else 1.0
        powers.append(factor * powers[-1] ** 2 + beta * powers[i] + gamma)
    return powers[-1]


def mapped(method: str, x: torch.Tensor) -> torch.Tensor:
    """What the passes make of a singular value."""
    for polynomial in PASSES[method]:
        x = x * scalar(polynomial, x**2)
    return x


def matrices(kind: str) -> torch.Tensor:
    n, m = 48, 96
    left = torch.linalg.qr(torch.randn(4, n, n, dtype=torch.float64)).Q
    right = torch.linalg.qr(torch.randn(4, m, n, dtype=torch.float64)).Q.mT
    values = {
        "gaussian": None,
        "ill-conditioned": torch.logspace(0, -3, n, dtype=torch.float64),
        "of low rank": torch.where(torch.arange(n) < 6, 1.0, 2e-3).double(),
        "one large direction": torch.where(torch.arange(n) < 1, 1.0, 1e-2).double(),
    }[kind]
    if values is None:
        return torch.randn(4, n, m)
    return ((left * values) @ right).float()


def polar_error(matrix: torch.Tensor, result: torch.Tensor) -> float:
    u, _, vt = torch.linalg.svd(matrix.double(), full_matrices=False)
    return float((result.double() - u @ vt).square().sum((-2, -1)).mean() / matrix.shape[-2]) ** 0.5


@pytest.mark.parametrize(
    ("method", "reach", "low", "high", "steep"),
    [("three_pass", THREE_REACH, 0.7, 1.3, 400), ("two_pass", REACH, 0.62, 1.38, 300)],
)
def test_every_singular_value_within_reach_comes_near_one_and_none_grows_beyond(
    method, reach, low, high, steep
):
    x = torch.linspace(0, 1, 200_001, dtype=torch.float64)
    y = mapped(method, x)
    assert y[x >= 1 / reach].min() > low
    assert y.max() < high
    assert y.min() >= 0
    tiny = torch.tensor(1e-6, dtype=torch.float64)
    assert (
        mapped(method, tiny) / tiny > steep
    )  # of five quintics: 485, but of a singular value over a larger norm


@pytest.mark.parametrize("polynomial", [one for passes in PASSES.values() for one in passes])
def test_a_matrix_is_evaluated_as_its_eigenvalues_are(polynomial):
    vectors = torch.linalg.qr(torch.randn(3, 10, 10, dtype=torch.float64)).Q
    values = torch.rand(3, 10, dtype=torch.float64)
    a = (vectors * values[:, None]) @ vectors.mT
    expected = (vectors * scalar(polynomial, values)[:, None]) @ vectors.mT * 0.3
    torch.testing.assert_close(evaluate(polynomial, a, 0.3, Workspace()), expected, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("shape", [(24, 64), (64, 24), (32, 32), (1, 5), (5, 1)])
@pytest.mark.parametrize("method", PASSES)
def test_it_maps_the_singular_values_and_keeps_the_vectors(shape, method):
    matrix = torch.randn(shape)
    u, s, vt = torch.linalg.svd(matrix.double(), full_matrices=False)
    values = mapped(method, s / (1.01 * s.pow(4).sum().pow(0.25)))
    result = newton_schulz(matrix, dtype=torch.float32, method=method)
    torch.testing.assert_close(result.double(), (u * values) @ vt, atol=3e-4, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["gaussian", "ill-conditioned", "of low rank", "one large direction"])
@pytest.mark.parametrize(("method", "allowed"), [("three_pass", 1.0), ("two_pass", 1.06)])
def test_the_error_is_about_that_of_five_quintics_or_less(method, allowed, kind, dtype):
    given = matrices(kind)
    ours, quintic = (
        polar_error(given, newton_schulz(given, dtype=dtype, method=one)) for one in (method, "quintic")
    )
    assert ours < allowed * quintic


@pytest.mark.parametrize("method", METHODS)
def test_every_method_keeps_zeros_and_ignores_the_scale(method):
    given = torch.cat([torch.zeros(1, 6, 8), torch.randn(2, 6, 8)])
    result = newton_schulz(given, dtype=torch.float32, method=method)
    assert not result[0].any()
    assert result[1].any()
    for scale in (1e-5, 1e8):  # below a norm of 1e-7 all methods, as torch.optim.Muon, let an update shrink
        again = newton_schulz(scale * given, dtype=torch.float32, method=method)
        torch.testing.assert_close(again, result, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(("method", "low", "high"), [("polar_express", 0.85, 1.15), ("gram", 0.65, 1.25)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_optional_methods_have_their_own_bands(method, low, high, dtype):
    values = torch.linalg.svdvals(newton_schulz(torch.randn(6, 48, 96), dtype=dtype, method=method).float())
    assert low < values.min()
    assert values.max() < high


def test_iterating_on_the_gram_matrix_is_the_quintic_but_for_rounding():
    given = torch.randn(3, 20, 50)
    torch.testing.assert_close(
        newton_schulz(given, dtype=torch.float64, method="gram"),
        newton_schulz(given, dtype=torch.float64, method="quintic"),
        atol=1e-6,
        rtol=0,
    )
