"""What stands in a checkpoint, and how a run takes it up again: its parts, the random generators, the same configuration."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from optim.checkpoint_files import damage, read_content
from optim.checkpoint_tensors import read_tensors
from optim.errors import CheckpointError, ConfigError
from optim.parallel import world_size

NAME = re.compile(r"step-(\d{8,})\.([0-9a-f]{16})(\.pt)?")


class Stateful(Protocol):
    """What a checkpoint can keep: models, optimizers, schedulers, moving averages."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


@dataclass(frozen=True)
class Snapshot:
    """A checkpoint found whole: `step` steps were done when it was written, by `world` processes."""

    path: Path
    step: int
    config: dict[str, Any]
    world: int
    rest: dict[str, Any] = field(repr=False)
    """The parts' states; a new-style checkpoint's tensors are still in its files."""
    rng: dict[str, Any] = field(repr=False)

    def restore(self, parts: Mapping[str, Stateful]) -> None:
        """Load every part's state and the random generators'; each rank takes its own shards.

        Raises `CheckpointError` if the checkpoint holds other parts, or tensors of other shapes.
        """
        optional = (
            {"data", "precision"} if self.path.suffix == ".pt" else set()
        )  # not there before checkpoints were folders
        if set(parts) - optional != set(self.rest) - optional:
            raise CheckpointError(
                f"{self.path} holds {sorted(self.rest)}, this run needs {sorted(parts)}; "
                "start it with --fresh"
            )
        if self.path.suffix == ".pt":
            states = self.rest
            if world_size() > 1:
                raise CheckpointError(
                    f"{self.path} is of an earlier version, which one process alone can read; resume on one until its "
                    "next checkpoint, then on several"
                )
        else:
            states = read_tensors(self.path, self.rest, parts)
        for name in parts.keys() & states.keys():
            parts[name].load_state_dict(states[name])
        _restore_rng(self.rng)

    def refuse_other_config(self, config: Mapping[str, Any], free: frozenset[str] = frozenset()) -> None:
        """Raise if the run's configuration differs from the checkpoint's in a key that is not `free`."""
        old, new = _flat(self.config), _flat(config)
        differing = [
            f"  {key}: checkpoint {old.get(key, '(absent)')!r}, now {new.get(key, '(absent)')!r}"
            for key in sorted(old.keys() | new.keys())
            if old.get(key) != new.get(key) and key not in free
        ]
        if differing:
            raise ConfigError(
                f"{self.path} was made with another configuration:\n"
                + "\n".join(differing)
                + "\nput these back, or start afresh with --fresh or another output.run folder"
            )


def read_checkpoint(path: Path) -> Snapshot:
    """Read one checkpoint's step, configuration and what else is no tensor.

    `CheckpointError` if a file is not what was written.
    """
    if not NAME.fullmatch(path.name):
        raise CheckpointError(f"{path} is not named like a checkpoint, step-<number>.<digest>")
    if wrong := damage(path):
        raise CheckpointError(wrong)
    content = read_content(path)
    return Snapshot(
        path, content["step"], content["config"], content.get("world", 1), content["states"], content["rng"]
    )


def rng_states() -> dict[str, Any]:
    """Of every generator that a run draws from, for `Snapshot.restore`."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"python": random.getstate(), "torch": torch.get_rng_state(), "cuda": cuda}


def _restore_rng(rng: dict[str, Any]) -> None:
    random.setstate(rng["python"])
    torch.set_rng_state(rng["torch"])
    if torch.cuda.is_available() and len(rng["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(rng["cuda"])


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
