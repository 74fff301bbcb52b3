"""Hostile statements, one a line, by database; {canary}, {out}, {folder} and {port} stand for what must not be touched."""

from __future__ import annotations

from pathlib import Path

from .mutations import mutations

__all__ = ["mutations", "statements"]


def statements(dialect: str) -> list[str]:
    """Of one database, as they are in its file."""
    return Path(__file__).with_name(f"{dialect}.sql").read_text(encoding="utf-8").splitlines()
