"""Abbreviations in the names of tables and columns, spelled out: what people say is seldom what a schema calls it."""

from functools import lru_cache
from pathlib import Path


@lru_cache(maxsize=1)
def abbreviations() -> dict[str, str]:
    """What each stands for, in names of several words; in a name of its own see `spelled`."""
    return {short.removeprefix("~"): spelled for short, spelled in _lines()}


@lru_cache(maxsize=1)
def _words() -> frozenset[str]:
    return frozenset(short.removeprefix("~") for short, _ in _lines() if short.startswith("~"))


def _lines() -> list[tuple[str, str]]:
    lines = Path(__file__).with_suffix(".txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split(" = ") for line in lines if " = " in line and not line.startswith("#"))
    return [(short, spelled) for short, spelled in pairs]


def spelled(words: tuple[str, ...]) -> tuple[str, ...]:
    """The words of a name with their abbreviations spelled out; those that may be words themselves only beside others."""
    return tuple(
        part
        for word in words
        for part in (
            word if len(words) == 1 and word in _words() else abbreviations().get(word, word)
        ).split()
    )
