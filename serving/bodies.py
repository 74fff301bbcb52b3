"""What is sent to the HTTP service, and what it answers."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StrictStr

from .guard import MAX_SQL_CHARS
from .question import MAX_QUESTION_CHARS, flaw

MAX_BATCH = 64


def _text(value: str) -> str:
    if found := flaw(value):
        raise ValueError(found)
    return value


QuestionText = Annotated[StrictStr, Field(max_length=MAX_QUESTION_CHARS), AfterValidator(_text)]
DatabaseName = Annotated[StrictStr, Field(max_length=256), AfterValidator(_text)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Question(_Body):
    """A question in plain language about one database."""

    question: Annotated[QuestionText, Field(examples=["which suppliers are in Germany?"])]
    database: DatabaseName = "demo"
    execute: StrictBool = Field(False, description="also run the SQL and answer its rows")
    stream: StrictBool = Field(
        False, description="answer in server-sent events: sql, each signal as it comes, and the answer"
    )


class Batch(_Body):
    """Several questions."""

    questions: list[Question] = Field(min_length=1, max_length=MAX_BATCH)


class NewDatabase(_Body):
    """A database to register; its address is kept sealed and never told."""

    name: DatabaseName
    url: Annotated[StrictStr, Field(max_length=2_000, examples=["postgresql://reader@db/shop"])]


class Statement(_Body):
    """One reading statement to run on one database."""

    database: DatabaseName = "demo"
    sql: Annotated[StrictStr, Field(max_length=MAX_SQL_CHARS, examples=["SELECT count(*) FROM suppliers"])]


class Signal(BaseModel):
    """One piece of evidence for or against the SQL; `value` is null where it could not be measured."""

    name: str
    value: float | None
    ms: float
    note: str
    cost: int = Field(0, ge=0, le=4, description="0 free, 1 rules, 2 embedding, 3 scoring, 4 writing")


class Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    ms: float


class Doubt(BaseModel):
    """One thing that speaks against the SQL: of a clause, a token, a signal, or a rival statement."""

    kind: str
    what: str
    note: str


class SqlAnswer(BaseModel):
    """SQL and how likely it is to be right; `abstain` says that it is better not acted on."""

    id: str = Field("", description="to say by POST /v1/feedback whether it was right")
    sql: str
    confidence: float = Field(ge=0, le=1)
    abstain: bool
    signals: list[Signal]
    doubts: list[Doubt] = Field([], description="what is uncertain, the gravest of each kind")
    rows: list[list[Any]] | None
    columns: list[str] | None
    model: str
    usage: Usage
    error: str | None = Field(None, description="why there is no SQL, or why it could not be run")


class Failure(BaseModel):
    """What was found and, in `hint`, what to do about it."""

    type: str
    message: str
    hint: str


class BatchLine(BaseModel):
    """What came of one question: an answer or an error."""

    answer: SqlAnswer | None = None
    error: Failure | None = None


class Rows(BaseModel):
    columns: list[str]
    rows: list[list[Any]]
    truncated: bool
    ms: float


class DatabaseLine(BaseModel):
    name: str
    dialect: str
    tables: list[str]
    error: str | None = None


class Problem(BaseModel):
    """What is wrong with a request, or with the service; the status says whose fault it is."""

    error: Failure
