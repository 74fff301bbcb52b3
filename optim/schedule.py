"""The learning rate over a run: warm-up, stable, decay (WSD; MiniCPM, arXiv 2404.06395, section 4)."""

from __future__ import annotations

from functools import partial

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def lr_scale(step: int, total: int, warmup: int, decay_fraction: float) -> float:
    """The factor, in [0, 1], on the peak learning rate at step `step` (from 0) of `total`.

    It rises linearly over the first `warmup` steps (never 0, so that the first step counts), stays at 1, and
    falls linearly over the last `decay_fraction` of all steps, to reach 0 one step after the last. Where the
    two ramps overlap the lower one holds.
    """
    if step >= total:
        return 0.0
    rise = (step + 1) / warmup if warmup > 0 else 1.0
    decay_steps = total * decay_fraction
    fall = (total - step) / decay_steps if decay_steps > 0 else 1.0
    return max(0.0, min(1.0, rise, fall))


def decay_start(total: int, decay_fraction: float) -> int:
    """The last step at which the decay has not begun: until here a run is the same whatever its length."""
    return int(total * (1 - decay_fraction))


def wsd(optimizer: Optimizer, total: int, warmup: int, decay_fraction: float) -> LambdaLR:
    """`lr_scale` as a PyTorch scheduler over every parameter group of `optimizer`."""
    scale = partial(lr_scale, total=total, warmup=warmup, decay_fraction=decay_fraction)
    return LambdaLR(optimizer, scale)
