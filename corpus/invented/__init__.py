"""Databases made up from an outline: as many different schemas, with rows, as training asks for."""

from corpus.invented.drawing import invent_database
from corpus.invented.outline import domains

__all__ = ["domains", "invent_database"]
