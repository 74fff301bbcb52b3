"""Cross-entropy of a linear head in chunks of rows, so that no [positions, vocabulary] table is ever made."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

_ROWS = 256  # 256 rows of 4096 float32 logits are 4 MB: they stay in the cache between the passes


def linear_cross_entropy(x_SD: Tensor, weight_VD: Tensor, targets_S: Tensor) -> Tensor:
    """Mean of -log softmax(x @ weight.T)[target] over S selected positions, float32 scalar; NaN for S = 0."""
    kind = x_SD.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x_SD.dtype
    return _LinearCrossEntropy.apply(x_SD.to(dtype), weight_VD.to(dtype), targets_S)


def linear_cross_entropy_reference(x_SD: Tensor, weight_VD: Tensor, targets_S: Tensor) -> Tensor:
    """The plain twin."""
    return F.cross_entropy(F.linear(x_SD, weight_VD).float(), targets_S)


class _LinearCrossEntropy(torch.autograd.Function):
    """The gradient is made in the forward pass, chunk by chunk, while the logits are at hand."""

    @staticmethod
    def forward(ctx: Any, x_SD: Tensor, weight_VD: Tensor, targets_S: Tensor) -> Tensor:
        wide = torch.float64 if x_SD.dtype == torch.float64 else torch.float32
        needs_gradient = any(ctx.needs_input_grad)
        grad_x_SD = torch.empty_like(x_SD) if needs_gradient else None
        grad_weight_VD = torch.zeros_like(weight_VD, dtype=wide) if needs_gradient else None
        total = torch.zeros((), dtype=wide, device=x_SD.device)
        for start in range(0, len(x_SD), _ROWS):
            rows = slice(start, start + _ROWS)
            logits_sV = (x_SD[rows] @ weight_VD.t()).to(wide)
            targets_s1 = targets_S[rows, None]
            norm_s1 = logits_sV.logsumexp(-1, keepdim=True)
            total += (norm_s1 - logits_sV.gather(1, targets_s1)).sum()
            if grad_x_SD is not None and grad_weight_VD is not None:
                grad_sV = logits_sV.sub_(norm_s1).exp_()
                grad_sV.scatter_add_(1, targets_s1, grad_sV.new_full(targets_s1.shape, -1.0))
                grad_sV = grad_sV.div_(len(x_SD)).to(x_SD.dtype)
                torch.mm(grad_sV, weight_VD, out=grad_x_SD[rows])
                if grad_weight_VD.dtype == grad_sV.dtype:
                    grad_weight_VD.addmm_(grad_sV.t(), x_SD[rows])
                else:
                    grad_weight_VD += grad_sV.t() @ x_SD[rows]
        if grad_x_SD is not None and grad_weight_VD is not None:
            ctx.save_for_backward(grad_x_SD, grad_weight_VD.to(weight_VD.dtype))
        return total / len(x_SD)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        grad_x_SD, grad_weight_VD = ctx.saved_tensors
        return grad_x_SD * grad.to(grad_x_SD.dtype), grad_weight_VD * grad.to(grad_weight_VD.dtype), None
