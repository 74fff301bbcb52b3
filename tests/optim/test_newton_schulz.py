"""Newton-Schulz against its plain twin and against the singular value decomposition."""

import importlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from optim import newton_schulz, newton_schulz_reference
from optim.fast_dtype import agreed_dtype, fast_dtype
from optim.newton_schulz import COEFFICIENTS

module = importlib.import_module("optim.fast_dtype")
CPU = torch.device("cpu")
SHAPES = [(8, 8), (24, 64), (64, 24), (1, 5), (5, 1)]


def by_svd(matrix: torch.Tensor) -> torch.Tensor:
    """The quintic applied five times to the singular values alone, in float64."""
    a, b, c = COEFFICIENTS
    u, s, vt = torch.linalg.svd(matrix.double(), full_matrices=False)
    s = s / s.norm()
    for _ in range(5):
        s = a * s + b * s**3 + c * s**5
    return (u * s) @ vt


@pytest.mark.parametrize("shape", SHAPES)
def test_it_maps_the_singular_values_and_keeps_the_vectors(shape):
    matrix = torch.randn(shape)
    expected = by_svd(matrix).float()
    torch.testing.assert_close(newton_schulz_reference(matrix), expected, atol=2e-4, rtol=0)
    torch.testing.assert_close(newton_schulz(matrix, dtype=torch.float32), expected, atol=2e-4, rtol=0)


@pytest.mark.parametrize("shape", SHAPES)
def test_bfloat16_is_near_the_reference(shape):
    matrix = torch.randn(shape)
    result = newton_schulz(matrix, dtype=torch.bfloat16)
    assert result.dtype == torch.bfloat16
    torch.testing.assert_close(result.float(), newton_schulz_reference(matrix), atol=0.03, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_singular_values_end_in_the_known_band(dtype):
    values = torch.linalg.svdvals(newton_schulz(torch.randn(6, 48, 96), dtype=dtype).float())
    assert values.min() > 0.65
    assert values.max() < 1.25


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 12), m=st.integers(1, 12), stack=st.integers(1, 4), seed=st.integers(0, 2**16))
def test_a_stack_is_its_slices(n, m, stack, seed):
    matrices = torch.randn(stack, n, m, generator=torch.Generator().manual_seed(seed))
    together = newton_schulz(matrices, dtype=torch.float32)
    for matrix, result in zip(matrices, together, strict=True):
        torch.testing.assert_close(result, newton_schulz_reference(matrix), atol=1e-4, rtol=1e-3)


def test_leading_dimensions_are_kept_and_the_input_is_not_touched():
    matrices = torch.randn(2, 3, 4, 5)
    before = matrices.clone()
    assert newton_schulz(matrices).shape == (2, 3, 4, 5)
    assert torch.equal(matrices, before)


def test_zero_stays_zero():
    assert not newton_schulz(torch.zeros(3, 4, 5)).any()


def test_scale_does_not_matter():
    matrix = torch.randn(7, 9)
    torch.testing.assert_close(
        newton_schulz(matrix, dtype=torch.float32), newton_schulz(1e4 * matrix, dtype=torch.float32)
    )


def test_the_fast_dtype_is_measured_once_and_is_the_faster_one(monkeypatch):
    def seconds(of_bfloat16):
        calls = []

        def measured(dtype):
            calls.append(dtype)
            return of_bfloat16 if dtype == torch.bfloat16 else 1.0

        return measured, calls

    for of_bfloat16, expected in ((0.3, torch.bfloat16), (0.9, torch.float32), (2.0, torch.float32)):
        measured, calls = seconds(of_bfloat16)
        monkeypatch.setattr(module, "_product_seconds", measured)
        fast_dtype.cache_clear()
        assert fast_dtype(CPU) == expected
        assert fast_dtype(CPU) == expected
        assert len(calls) == 2
    fast_dtype.cache_clear()


def test_without_a_group_the_agreed_dtype_is_the_fast_one():
    assert agreed_dtype(CPU) == fast_dtype(CPU)
