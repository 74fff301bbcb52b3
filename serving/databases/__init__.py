"""The databases that questions may be asked of: names, where they are, their schemas, and statements run on them."""

from .database import Database
from .description import describe, summaries
from .reader_role import reader_role_sql
from .reading import Reading
from .registry import DEMO, Databases

__all__ = ["DEMO", "Database", "Databases", "Reading", "describe", "reader_role_sql", "summaries"]
