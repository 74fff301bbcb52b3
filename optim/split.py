"""Which parameters get Muon and which AdamW, decided by what they are."""

from __future__ import annotations

from typing import Any

from torch import nn

from optim.errors import OptimError

ADAMW_NAMES = ("lm_head", "embed")  # anywhere in a name
ROUTER_NAMES = ("router", "gate")  # a whole component of a name: `gate_proj` is no router


def split_parameters(model: nn.Module, adam_lr: float | None = None) -> list[dict[str, Any]]:
    """Sort a model's trainable parameters into the groups that `MuonClip` takes.

    Muon gets matrices and stacks of them; AdamW gets embeddings, the output head, routers and whatever is no
    matrix (norms, biases: these without weight decay). `adam_lr` gives AdamW's groups a learning rate of
    their own. A group's parameters are (name, parameter) pairs; `parameter_table` prints them.
    """
    embeddings = {
        id(p)
        for module in model.modules()
        if isinstance(module, nn.Embedding)
        for p in module.parameters(recurse=False)
    }
    muon, matrices, vectors = [], [], []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if parameter.ndim < 2:
            vectors.append((name, parameter))
        elif parameter.ndim > 3 or id(parameter) in embeddings or _named_for_adamw(name):
            matrices.append((name, parameter))
        else:
            muon.append((name, parameter))
    if not (muon or matrices or vectors):
        raise OptimError(f"{type(model).__name__} has no parameter that requires a gradient")
    own_lr = {} if adam_lr is None else {"lr": adam_lr}
    groups: list[dict[str, Any]] = [
        {"params": muon, "use_muon": True},
        {"params": matrices, "use_muon": False, **own_lr},
        {"params": vectors, "use_muon": False, "weight_decay": 0.0, **own_lr},
    ]
    return [group for group in groups if group["params"]]


def parameter_table(groups: list[dict[str, Any]]) -> str:
    """What `split_parameters` chose, one line a parameter: optimizer, shape, name."""
    lines = []
    for group in groups:
        chosen = (
            "Muon" if group["use_muon"] else "AdamW, no decay" if group.get("weight_decay") == 0 else "AdamW"
        )
        total = sum(parameter.numel() for _, parameter in group["params"])
        lines.append(f"{chosen}: {len(group['params'])} tensors, {total:,} parameters")
        lines += [
            f"  {'x'.join(map(str, parameter.shape)):>16}  {name}" for name, parameter in group["params"]
        ]
    return "\n".join(lines)


def _named_for_adamw(name: str) -> bool:
    components = name.lower().split(".")
    return any(word in name.lower() for word in ADAMW_NAMES) or any(
        component in ROUTER_NAMES for component in components
    )
