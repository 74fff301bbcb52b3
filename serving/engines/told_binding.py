"""What a prompt's references stand for, as one SureSQL tells another: enough to build the grammar of the prompt there."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from corpus.linking import Value
from corpus.references import MAX_COLUMNS, MAX_TABLES, MAX_VALUES, Binding
from corpus.schema import ForeignKey, Schema, Table

from ..errors import InvalidRequest

FIELD = "suresql_binding"
"""Of a completion's request: its prompts' answers are statements over this binding, token by token."""
MOST_KEYS = 1_000


class _Told(BaseModel):
    model_config = ConfigDict(extra="forbid")

    known: tuple[Table, ...] = Field(max_length=MAX_TABLES)
    """The schema's tables; the prompt may have fewer columns of them."""
    foreign_keys: tuple[ForeignKey, ...] = Field(max_length=MOST_KEYS)
    tables: tuple[str, ...] = Field(max_length=MAX_TABLES)
    columns: tuple[tuple[str, str], ...] = Field(min_length=1, max_length=MAX_COLUMNS)
    values: tuple[str, ...] = Field(max_length=MAX_VALUES)


def told(binding: Binding) -> dict[str, Any]:
    """The binding in JSON's types; of its values their texts, which is what a grammar looks at."""
    schema = binding.schema
    return _Told(
        known=schema.tables,
        foreign_keys=schema.foreign_keys,
        tables=binding.tables,
        columns=binding.columns,
        values=tuple(value.text for value in binding.values),
    ).model_dump(mode="json")


def binding_of(given: object) -> Binding:
    """The binding that was told. Raises InvalidRequest for what is none."""
    try:
        one = _Told.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InvalidRequest(f"{FIELD} is no binding of a prompt ({where}: {first['msg']}).") from error
    schema = Schema(one.known, one.foreign_keys)
    names = {table.casefold() for table in one.tables}
    keys = {name.casefold() for key in one.foreign_keys for name in (key.table, key.ref_table)}
    strange = [name for name in sorted(names | keys) if schema.table(name) is None]
    strange += [
        f"{t}.{c}" for t, c in one.columns if t.casefold() not in names or schema.column(t, c) is None
    ]
    if strange:
        raise InvalidRequest(f"{FIELD} names {strange[0]!r}, which is not among its tables and columns.")
    return Binding(schema, one.tables, one.columns, tuple(map(Value, one.values)))
