"""Other Muon implementations, each over plain matrices with Muon's usual settings: Nesterov, five steps, weight decay 0.1.

Each entry imports its package when it is asked for; what cannot be imported is reported, not guessed. Those of PyPI come
with `pip install suresql[peers]`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

Optimizer = Any
LR, WEIGHT_DECAY = 1e-3, 0.1


def torch_muon(parameters: Sequence[torch.nn.Parameter]) -> Optimizer:
    """`torch.optim.Muon` with its defaults: bfloat16, one matrix at a time."""
    return torch.optim.Muon(parameters, lr=LR)


def _heavyball(parameters: Sequence[torch.nn.Parameter]) -> Optimizer:
    import heavyball
    import heavyball.utils

    heavyball.utils.compile_mode = None  # its compiled form needs minutes of compilation for this many shapes
    return heavyball.Muon(parameters, lr=LR, weight_decay=WEIGHT_DECAY)


def _muon_fsdp2(parameters: Sequence[torch.nn.Parameter]) -> Optimizer:
    from muon_fsdp2 import Muon

    return Muon([{"params": list(parameters), "lr": LR, "weight_decay": WEIGHT_DECAY, "use_muon": True}])


def _dtensor_muon(parameters: Sequence[torch.nn.Parameter]) -> Optimizer:
    from dtensor_muon import MuonForeach

    return MuonForeach(list(parameters), lr=LR, wd=WEIGHT_DECAY)


def _pytorch_optimizer(parameters: Sequence[torch.nn.Parameter]) -> Optimizer:
    from pytorch_optimizer import Muon

    return Muon(
        [{"params": list(parameters), "lr": LR, "weight_decay": WEIGHT_DECAY, "use_muon": True}], lr=LR
    )


def _emerging_optimizers(parameters: Sequence[torch.nn.Parameter]) -> Optimizer:
    from emerging_optimizers.orthogonalized_optimizers import Muon

    return Muon(parameters, lr=LR, weight_decay=WEIGHT_DECAY)


def _dion(parameters: Sequence[torch.nn.Parameter]) -> Optimizer:
    from dion import Muon

    return Muon(parameters, lr=LR, weight_decay=WEIGHT_DECAY)


PEERS: dict[str, Callable[[Sequence[torch.nn.Parameter]], Optimizer]] = {
    "heavyball": _heavyball,
    "muon_fsdp2": _muon_fsdp2,
    "dtensor_muon": _dtensor_muon,
    "pytorch_optimizer": _pytorch_optimizer,
    "emerging_optimizers": _emerging_optimizers,  # needs Python 3.12
    "dion": _dion,  # microsoft/dion, not on PyPI; its kernels are CUDA's
}
