"""The smallest real things that the confidence needs: a schema, answers, the real MiniLM, a model that is a table."""

from collections.abc import Sequence

import pytest

from sqlconf.ddl import Column, ForeignKey, Schema, Table
from sqlconf.embedding import Embedder, shared_embedder
from sqlconf.signal import Answer

SUPPLY = Schema(
    (
        Table("suppliers", (Column("id", "number"), Column("name", "text"), Column("foundedIn", "time"))),
        Table("orders", (Column("id", "number"), Column("supplier_id", "number"), Column("total", "number"))),
    ),
    (ForeignKey("orders", "supplier_id", "suppliers", "id"),),
)


class TableModel:
    """Implements sqlconf's Model by looking the SQL up in tables."""

    def __init__(
        self,
        words: dict[str, str | None],
        reports: dict[str, float | None],
        questions: dict[str, tuple[float, ...] | None] | None = None,
    ):
        self.words = words
        self.reports = reports
        self.questions = questions or {}

    def back_translate(self, answers: Sequence[Answer]) -> list[tuple[str, ...] | None]:
        said = [self.words.get(answer.sql) for answer in answers]
        return [None if words is None else tuple(words.split(" / ")) for words in said]

    def self_report(self, answers: Sequence[Answer]) -> list[float | None]:
        return [self.reports.get(answer.sql) for answer in answers]

    def question_logprobs(self, answers: Sequence[Answer]) -> list[tuple[float, ...] | None]:
        return [self.questions.get(answer.sql) for answer in answers]

    def view_logprobs(self, answers: Sequence[Answer]) -> list[tuple[tuple[float, ...], ...] | None]:
        return [None] * len(answers)


@pytest.fixture(scope="session")
def embedder() -> Embedder:
    return shared_embedder()


@pytest.fixture
def supply() -> Schema:
    return SUPPLY


@pytest.fixture
def answer():
    def build(question: str, sql: str, logprobs: tuple[float, ...] = ()) -> Answer:
        return Answer(question, sql, SUPPLY, logprobs)

    return build


@pytest.fixture
def table_model():
    return TableModel
