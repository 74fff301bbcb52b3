"""How near each way of orthogonalising comes to the polar factor, on several kinds of matrices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from model import load
from optim.muonclip import MuonClip
from optim.newton_schulz import METHODS, newton_schulz
from optim.split import split_parameters

BATCH, SIDE, LENGTH = 8, 128, 256
STEPS = 4


def errors(checkpoint: Path) -> dict[str, dict[str, dict[str, float]]]:
    """By kind of matrix and method, in bfloat16 but `three_pass_float32`: the root mean square of O - U V^T per direction, the
    least and the largest singular value of O among directions stronger than 1/500 of the Frobenius norm.

    `torch` is `torch.optim.Muon`'s own function.
    """
    methods: dict[str, Callable[[Tensor], Tensor]] = {"torch": _by_torch}
    for method in METHODS:
        methods[method] = lambda given, method=method: newton_schulz(  # type: ignore[misc]
            given, dtype=torch.bfloat16, method=method
        )
    methods["three_pass_float32"] = lambda given: newton_schulz(
        given, dtype=torch.float32, method="three_pass"
    )
    return {
        kind: {name: _error(given, method(given)) for name, method in methods.items()}
        for kind, given in (synthetic() | momenta(checkpoint)).items()
    }


def synthetic() -> dict[str, Tensor]:
    """Gaussian, spectrum falling to a thousandth, low rank in noise, one dominant direction."""
    torch.manual_seed(0)
    left = torch.linalg.qr(torch.randn(BATCH, SIDE, SIDE)).Q
    right = torch.linalg.qr(torch.randn(BATCH, LENGTH, SIDE)).Q.mT
    one = torch.full((SIDE,), 0.01)
    one[0] = 1
    low = torch.randn(BATCH, SIDE, 8) @ torch.randn(BATCH, 8, LENGTH)
    return {
        "gaussian": torch.randn(BATCH, SIDE, LENGTH),
        "ill_conditioned": (left * torch.logspace(0, -3, SIDE)) @ right,
        "low_rank": low + 0.03 * torch.randn_like(low),
        "one_direction": (left * one) @ right,
    }


def momenta(checkpoint: Path) -> dict[str, Tensor]:
    """Momenta of the shipped model after a few steps on random tokens, some of each shape."""
    torch.manual_seed(0)
    model, _ = load(checkpoint)
    optimizer = MuonClip(split_parameters(model.train()), lr=1e-4)
    for _ in range(STEPS):
        tokens_BT = torch.randint(3, model.config.vocab_size, (4, 65))
        loss, _ = model.loss(tokens_BT[:, :-1], tokens_BT[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    by_shape: dict[tuple[int, ...], list[Tensor]] = {}
    for state in optimizer.state.values():
        if "momentum_buffer" in state:
            momentum = state["momentum_buffer"]
            by_shape.setdefault(tuple(momentum.shape[-2:]), []).extend(
                momentum.reshape(-1, *momentum.shape[-2:])[:BATCH]
            )
    return {
        f"momentum_{n}x{m}": torch.stack(some[:BATCH]) for (n, m), some in by_shape.items() if min(n, m) > 8
    }


def _by_torch(given: Tensor) -> Tensor:
    from torch.optim._muon import _zeropower_via_newtonschulz

    return torch.stack(
        [_zeropower_via_newtonschulz(one, (3.4445, -4.7750, 2.0315), 5, 1e-7) for one in given]
    )


def _error(given: Tensor, result: Tensor) -> dict[str, float]:
    u, s, vt = torch.linalg.svd(given.double(), full_matrices=False)
    result = result.double()
    values = torch.einsum("bik,bij,bkj->bk", u, result, vt)
    strong = values[s > s.norm(dim=-1, keepdim=True) / 500]
    return {
        "error": round(float((result - u @ vt).square().sum((1, 2)).mean() / u.shape[-1]) ** 0.5, 3),
        "least": round(float(strong.min()), 3),
        "largest": round(float(strong.max()), 3),
    }
