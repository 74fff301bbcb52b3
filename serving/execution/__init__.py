"""The second wall: statements run where they can only read, briefly, and answer little.

Each database has a wall of its own (`in_sqlite`, `in_duckdb`, `in_postgres`), which does not rely on the guard; and each
statement runs in a process of its own kind (`worker`), with limits of the operating system, that is killed when it runs over.
"""

from .place import Kind, Place
from .pool import compiles, execute, shut_down
from .result import Limits, Result, Value

__all__ = ["Kind", "Limits", "Place", "Result", "Value", "compiles", "execute", "shut_down"]
