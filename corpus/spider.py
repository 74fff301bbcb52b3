"""Readers of the layout that Spider's files here have: JSON lines of questions with SQL, and databases beside them."""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from corpus.contents import Contents
from corpus.errors import BrokenLine, CorpusError
from corpus.schema import Schema, read_schema, schema_from_ddl


@dataclass(frozen=True)
class Example:
    """A question and its right SQL on the database `db_id`; `sql` is None where no SQL answers it."""

    id: str
    question: str
    sql: str | None
    db_id: str
    ddl: str | None = None
    raw_id: object = None
    """The id as the file has it: a number stays one."""


def read_examples(path: str | Path, *, answers_required: bool = True) -> list[Example]:
    """All lines of a JSON-lines file. Raises BrokenLine with the number of the first line that is none.

    A line without SQL needs `answerable: false`, unless `answers_required` is false.
    """
    path = Path(path)
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise CorpusError(f"{path}: {error.strerror}; give a JSON-lines file of questions.") from error
    examples = []
    for number, raw in enumerate(lines, start=1):
        if raw.strip():
            examples.append(_example(raw, f"{path}, line {number}", number, answers_required))
    if not examples:
        raise CorpusError(f"{path}: no examples; expected a line of JSON for each question.")
    return examples


def _example(raw: bytes, where: str, number: int, answers_required: bool) -> Example:
    try:
        line = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BrokenLine(f"{where}: not JSON ({error}); mend or remove the line.") from error
    if not isinstance(line, dict):
        raise BrokenLine(
            f"{where}: expected an object with question, sql and db_id, found {type(line).__name__}."
        )
    for field in ("question", "db_id"):
        if not isinstance(line.get(field), str) or not line[field].strip():
            raise BrokenLine(
                f"{where}: field '{field}' is missing or empty; every line needs question, sql and db_id."
            )
    sql = line.get("sql")
    may_lack = line.get("answerable") is False or not answers_required
    if not isinstance(sql, str) and not (sql is None and may_lack):
        raise BrokenLine(
            f"{where}: field 'sql' is {sql!r}; expected SQL text (or null with answerable: false)."
        )
    raw_id = line.get("id")
    if raw_id is None:
        raw_id = number
    return Example(str(raw_id), line["question"], sql, line["db_id"], line.get("ddl"), raw_id)


class DatabaseFolder:
    """The databases `<root>/<db_id>.sqlite`, each read once: schema and text contents."""

    def __init__(self, root: str | Path):
        self.root = Path(root)
        if not self.root.is_dir():
            raise CorpusError(f"{self.root}: no such folder; expected one with <db_id>.sqlite files.")
        self.schema = lru_cache(maxsize=None)(self._schema)
        self.contents = lru_cache(maxsize=None)(self._contents)

    def path(self, db_id: str) -> Path:
        path = self.root / f"{db_id}.sqlite"
        if path.parent.resolve() != self.root.resolve():
            raise CorpusError(f"database name {db_id!r} leaves {self.root}.")
        return path

    def read(self, db_id: str) -> tuple[Schema, Contents]:
        return self.schema(db_id), self.contents(db_id)

    def _schema(self, db_id: str) -> Schema:
        return read_schema(self.path(db_id))

    def _contents(self, db_id: str) -> Contents:
        return Contents.read(self.path(db_id), self.schema(db_id))


def ddl_schema(ddl: str) -> Schema:
    """Schema of a line that carries its own DDL (WikiSQL)."""
    return schema_from_ddl(ddl)
