"""The tensors in the states of a run's parts: taken out to be saved, and read back into the place of this run's."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint import FileSystemReader, load
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions

from optim.errors import CheckpointError
from optim.parallel import world_size

PLACE = "tensor at"
# One process needs no torch.distributed. Said once for all: to silence it around a call is no business of a thread.
warnings.filterwarnings("ignore", "torch.distributed is disabled")


def split(tree: Any, path: str = "") -> tuple[dict[str, Tensor], Any]:
    """A tree's tensors by their path in it, and the tree with their paths in their places."""
    if isinstance(tree, Tensor):
        return {path: tree.detach()}, {PLACE: path}
    if isinstance(tree, Mapping):
        items: list[tuple[Any, Any]] = list(tree.items())
    elif isinstance(tree, list | tuple):
        items = list(enumerate(tree))
    else:
        return {}, tree
    tensors: dict[str, Tensor] = {}
    rest = {}
    for key, value in items:
        found, rest[key] = split(value, f"{path}.{key}" if path else str(key))
        tensors |= found
    return tensors, rest if isinstance(tree, Mapping) else type(tree)(rest.values())


def joined(rest: Any, tensors: Mapping[str, Tensor]) -> Any:
    """`split`'s inverse."""
    if isinstance(rest, Mapping):
        if set(rest) == {PLACE}:
            return tensors[rest[PLACE]]
        return {key: joined(value, tensors) for key, value in rest.items()}
    if isinstance(rest, list | tuple):
        return type(rest)(joined(value, tensors) for value in rest)
    return rest


def stager() -> DefaultStager:
    """What copies tensors to main memory, so that training may go on while they are written."""
    cuda = torch.cuda.is_available()
    return DefaultStager(
        StagingOptions(
            use_pinned_memory=cuda,
            use_shared_memory=False,
            use_async_staging=False,
            use_non_blocking_copy=cuda,
        )
    )


def read_tensors(folder: Path, rest: Mapping[str, Any], parts: Mapping[str, Any]) -> dict[str, Any]:
    """The parts' states, with tensors placed as this run's are.

    The tensors that a part has already are overwritten; an optimizer's, which come with its first step, are made.
    `CheckpointError` if the checkpoint's tensors are of other shapes, or others are there.
    """
    reader = FileSystemReader(folder)
    saved = {
        path: found
        for path, found in reader.read_metadata().state_dict_metadata.items()
        if isinstance(found, TensorStorageMetadata)
    }
    here, _ = split({name: part.state_dict() for name, part in parts.items()})
    for name, part in parts.items():
        if isinstance(part, torch.optim.Optimizer):
            here |= _optimizer_tensors(name, part, saved)
    wrong = [
        f"  {path}: there {_shape(saved.get(path))}, here {_shape(here.get(path))}"
        for path in sorted(saved.keys() | here.keys())
        if _shape(saved.get(path)) != _shape(here.get(path))
    ]
    if wrong:
        more = [f"  and {len(wrong) - 8} more"] if len(wrong) > 8 else []
        raise CheckpointError(
            f"the checkpoint {folder} holds tensors of other shapes than this run's:\n"
            + "\n".join(wrong[:8] + more)
            + "\ngo on with the model that it was made with, or start afresh with --fresh"
        )
    load(here, storage_reader=reader, no_dist=world_size() == 1)
    return joined(rest, here)


def _optimizer_tensors(
    name: str, optimizer: torch.optim.Optimizer, saved: Mapping[str, TensorStorageMetadata]
) -> dict[str, Tensor]:
    """A tensor for each that was saved of an optimizer's state: placed like its parameter, or a number."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    made = {}
    for path, found in saved.items():
        if path.startswith(f"{name}.state."):
            index = int(path.removeprefix(f"{name}.state.").split(".")[0])
            if index < len(parameters) and found.size:
                made[path] = torch.zeros_like(parameters[index], dtype=found.properties.dtype)
            elif index < len(parameters):
                made[path] = torch.zeros((), dtype=found.properties.dtype)
    return {path: tensor.detach() for path, tensor in made.items()}


def _shape(found: Tensor | TensorStorageMetadata | None) -> str:
    if found is None:
        return "none"
    return str(list(found.shape if isinstance(found, Tensor) else found.size))
