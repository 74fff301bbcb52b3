"""How evenly a step's tokens fell on the experts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from optim.parallel import world_size


@torch.no_grad()
def expert_load(load_LE: Sequence[Tensor]) -> dict[str, float]:
    """From each layer's tokens by expert, of this rank, what the journal shows of all ranks' together.

    `expert_load` is the busiest expert's share beside an equal one (1: even), in the worst layer; `idle_experts` how many
    of all got no token.
    """
    if not load_LE:
        return {}
    joined = torch.stack(list(load_LE)).double()
    if world_size() > 1:
        dist.all_reduce(joined)
    worst = (joined.amax(1) / joined.mean(1).clamp(min=1)).max()
    return {"expert_load": round(float(worst), 3), "idle_experts": int((joined == 0).sum())}
