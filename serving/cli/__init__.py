"""The command `suresql`."""

from .main import main

__all__ = ["main"]
