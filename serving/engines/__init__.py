"""Engines: the language model behind one small interface."""

from .engine import Completion, Engine

__all__ = ["Completion", "Engine"]
