"""The parts of a run, as its configuration says: the model, where it lies, its optimizer, the numbers it computes in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn
from torch.distributed._composable.checkpoint_activation import checkpoint as checkpoint_activations
from torch.distributed.tensor import DTensor

import model as model_room
import model.hf as hf
from model.moe import Experts
from optim.config import RunConfig, closest
from optim.errors import ConfigError
from optim.fast_dtype import agreed_dtype
from optim.layout import Layout, shard_model
from optim.muonclip import MuonClip
from optim.owners import OwnerSharding
from optim.parallel import rank
from optim.qkclip import ClippableAttention
from optim.split import parameter_table, split_parameters

DTYPES = {"bf16": "bfloat16", "fp32": "float32"}


def model_config(config: RunConfig) -> Any:
    """The preset with the file's overrides.

    `ConfigError` if there is no such preset, or `model.start` is of another shape; `ModelError` if there is
    no such field, or no checkpoint in `model.start`.
    """
    presets = model_room.PRESETS
    if config.model.preset not in presets:
        raise ConfigError(
            f"model.preset is {config.model.preset!r}; there are {', '.join(sorted(presets))}"
            + closest(config.model.preset, presets)
        )
    known = presets[config.model.preset].to_json()
    for name in config.model.overrides.keys() - known.keys():
        raise ConfigError(f"model.{name}: a model has no such field{closest(name, known)}")
    fields = {**known, **config.model.overrides}
    shape = model_room.ModelConfig.from_json(fields)
    if config.train.max_length > shape.max_position_embeddings:
        raise ConfigError(
            f"train.max_length is {config.train.max_length}, but the model sees "
            f"{shape.max_position_embeddings} positions; lower it or raise model.max_position_embeddings"
        )
    if config.model.start is not None:
        _refuse_other_shape(config.model.start, shape)
    return shape


def _refuse_other_shape(start: Path, shape: Any) -> None:
    there, asked = hf.read_config(start).to_json(), shape.to_json()
    differing = [
        f"  {key}: there {there.get(key)!r}, in [model] {asked.get(key)!r}"
        for key in sorted(there.keys() | asked.keys())
        if there.get(key) != asked.get(key)
    ]
    if differing:
        raise ConfigError(
            f"the checkpoint model.start = {start} has another shape than [model] says:\n"
            + "\n".join(differing)
            + "\ntake its preset and overrides, or another checkpoint"
        )


def make_model(config: RunConfig, shape: Any, device: torch.device) -> Any:
    """A model with new weights, or with those of the checkpoint that the run starts from, laid out over the ranks."""
    if config.model.start is None:
        model = model_room.Transformer(shape)
    else:
        model, _ = model_room.load(config.model.start)
    model = model.train().to(device)
    for layer in model.layers:
        if config.train.checkpoint_activations:
            # not stopped early: an exchange of tokens that began must end, on every rank
            checkpoint_activations(layer, early_stop=False)
        if config.train.compile:
            layer.compile()
    experts = [module for module in model.modules() if isinstance(module, Experts)]
    layout = Layout(config.parallel.shard, config.parallel.experts)
    shard_model(model, list(model.layers), experts, layout, device)
    return model


def make_optimizer(config: RunConfig, model: nn.Module, console: Console) -> MuonClip:
    """MuonClip for all of a model's parameters; prints which of them get what."""
    settings = config.train
    groups = split_parameters(model, settings.adam_lr)
    console.print(parameter_table(groups))
    return MuonClip(
        groups,
        settings.lr,
        weight_decay=settings.weight_decay,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        ns_steps=settings.ns_steps,
        ns_dtype=None if settings.ns_dtype == "auto" else getattr(torch, DTYPES[settings.ns_dtype]),
        attentions=attentions_of(model),
        sharding=OwnerSharding(),
        tau=settings.tau,
    )


def attentions_of(model: nn.Module) -> Sequence[ClippableAttention]:
    """What QK-clip watches."""
    return [module for module in model.modules() if isinstance(module, ClippableAttention)]


class Precision:
    """What the products are computed in: as configured, or as measured when the run began, which a checkpoint keeps."""

    def __init__(self, configured: str, device: torch.device) -> None:
        self.name = configured
        if configured == "auto":
            self.name = "bf16" if agreed_dtype(device) == torch.bfloat16 else "fp32"

    def state_dict(self) -> dict[str, Any]:
        """For checkpoints."""
        return {"name": self.name}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """A machine that measures otherwise than the one before does not change the run."""
        self.name = state["name"]


def whole_model(model: Any, shape: Any) -> Any | None:
    """The model with all of its weights on one process, for rank 0; None for the others. Every rank must call it."""
    if not any(isinstance(parameter, DTensor) for parameter in model.parameters()):
        return model if rank() == 0 else None
    weights = {}
    for name, tensor in model.state_dict().items():
        gathered = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        if rank() == 0:
            weights[name] = gathered.cpu()
    if rank() > 0:
        return None
    with torch.device("meta"):
        whole = model_room.Transformer(shape)
    whole.load_state_dict(weights, assign=True)
    return whole
