"""The errors of `optim`: each message says what was found, what was expected and what to do."""

from __future__ import annotations


class OptimError(Exception):
    """Root of everything that `optim` raises on purpose."""


class ConfigError(OptimError):
    """The configuration of a run is wrong, or differs from the one a checkpoint was made with."""


class CheckpointError(OptimError):
    """A checkpoint could not be written or read."""


class DiskFullError(CheckpointError):
    """There is no room left for a checkpoint; the last good one stands."""


class DivergedError(OptimError):
    """The loss or the gradient is no longer a finite number; the last checkpoint stands."""


class DataError(OptimError):
    """There is nothing to train on, or the prepared data is damaged."""
