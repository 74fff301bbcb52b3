"""Cross-entropy of a linear head in chunks of rows, so that no [positions, vocabulary] table is ever made."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

_ROWS = 512  # 512 rows of 4096 float32 logits are 8 MB: they stay in the third-level cache between the passes


def linear_cross_entropy(x_SD: Tensor, weight_VD: Tensor, targets_S: Tensor) -> Tensor:
    """Mean of -log softmax(x @ weight.T)[target] over S selected positions, float32 scalar; NaN for S = 0."""
    kind = x_SD.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x_SD.dtype
    return _LinearCrossEntropy.apply(x_SD, weight_VD, targets_S, dtype)


def linear_cross_entropy_reference(x_SD: Tensor, weight_VD: Tensor, targets_S: Tensor) -> Tensor:
    """The plain twin."""
    return F.cross_entropy(F.linear(x_SD, weight_VD).float(), targets_S)


class _LinearCrossEntropy(torch.autograd.Function):
    """The gradient is made in the forward pass, chunk by chunk, while the logits are at hand."""

    @staticmethod
    def forward(ctx: Any, x_SD: Tensor, weight_VD: Tensor, targets_S: Tensor, dtype: torch.dtype) -> Tensor:
        wide = torch.float64 if dtype == torch.float64 else torch.float32
        needs_gradient = any(ctx.needs_input_grad)
        ctx.dtypes = x_SD.dtype, weight_VD.dtype
        x_SD, weight_VD = x_SD.to(dtype), weight_VD.to(dtype)
        grad_x_SD = torch.empty_like(x_SD) if needs_gradient else x_SD
        grad_weight_VD = torch.zeros_like(weight_VD, dtype=wide) if needs_gradient else weight_VD
        total = torch.zeros((), dtype=wide, device=x_SD.device)
        for start in range(0, len(x_SD), _ROWS):
            rows = slice(start, start + _ROWS)
            logits_sV = (x_SD[rows] @ weight_VD.t()).to(wide)
            targets_s1 = targets_S[rows, None]
            wanted_s1 = logits_sV.gather(1, targets_s1)
            if not needs_gradient:
                total += (logits_sV.logsumexp(-1, keepdim=True) - wanted_s1).sum()
                continue
            p_sV = logits_sV.softmax(-1)
            # The largest probability is its logit less the norm, and far from underflow. A logsumexp would be a pass of exp.
            total += (logits_sV.amax(-1) - p_sV.amax(-1).log() - wanted_s1.squeeze(1)).sum()
            p_sV.scatter_add_(1, targets_s1, p_sV.new_full(targets_s1.shape, -1.0))
            grad_sV = p_sV.to(dtype)
            torch.mm(grad_sV, weight_VD, out=grad_x_SD[rows])
            if dtype == wide:
                grad_weight_VD.addmm_(grad_sV.t(), x_SD[rows])
            else:
                grad_weight_VD += grad_sV.t() @ x_SD[rows]
        if needs_gradient:
            ctx.save_for_backward(grad_x_SD, grad_weight_VD)
        return total / len(x_SD)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        grad_x_SD, grad_weight_VD = ctx.saved_tensors
        each = grad / len(grad_x_SD)
        of_x, of_weight = ctx.dtypes
        return grad_x_SD.to(of_x).mul(each.to(of_x)), grad_weight_VD.mul(each).to(of_weight), None, None
