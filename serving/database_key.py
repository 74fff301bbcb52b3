"""What tells a database from others wherever it lies and whatever it is called: its tables and columns."""

from __future__ import annotations

import hashlib
import json

from corpus.schema import Schema


def database_key(schema: Schema) -> str:
    """Sixteen hexadecimal digits; equal for equal names of tables and columns, in whatever order."""
    names = sorted((table.name, sorted(column.name for column in table.columns)) for table in schema.tables)
    return hashlib.sha256(json.dumps(names).encode("utf-8", "surrogatepass")).hexdigest()[:16]
