"""A run's numbers as TensorBoard's events; needs the package `tensorboard`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optim.errors import ConfigError


class Events:
    """Writes to `folder`; of a run that was resumed at `start`, what it wrote beyond that is superseded."""

    def __init__(self, folder: Path, start: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigError(
                "output.tensorboard is true, but the package tensorboard is not installed; "
                "pip install 'suresql[monitor]', or set it to false"
            ) from error
        self._writer = SummaryWriter(str(folder), purge_step=start + 1 if start else None)

    def write(self, step: int, entry: Mapping[str, Any]) -> None:
        """Every number of an entry, under its name."""
        for name, value in entry.items():
            if name != "step" and isinstance(value, int | float) and math.isfinite(value):
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()
