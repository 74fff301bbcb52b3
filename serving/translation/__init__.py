"""Statements from SQLite's dialect, in which models write, to PostgreSQL's and DuckDB's: the same question, the same rows."""

from .translate import translate

__all__ = ["translate"]
