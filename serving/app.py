"""The HTTP service: questions to SQL with a confidence, statements run for reading, and schemas."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import escape
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StrictStr

from . import responses
from .databases import describe, summaries
from .errors import Overloaded, ServingError
from .gateway.caller import ANYONE, Caller, Scope
from .gateway.front import Front
from .guard import MAX_SQL_CHARS
from .middleware import BodyCap
from .pipeline import AskResult
from .question import MAX_QUESTION_CHARS, flaw
from .service import PipelineFactory, Service
from .settings import Settings

_HOME = Path(__file__).with_name("home.html")


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


class Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    ms: float


class SqlAnswer(BaseModel):
    """SQL and how likely it is to be right; `abstain` says that it is better not acted on."""

    sql: str
    confidence: float = Field(ge=0, le=1)
    abstain: bool
    signals: list[Signal]
    rows: list[list[Any]] | None
    columns: list[str] | None
    model: str
    usage: Usage
    error: str | None = Field(None, description="why there is no SQL, or why it could not be run")


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


def create_app(settings: Settings, pipeline_factory: PipelineFactory) -> FastAPI:
    """The application; the pipeline is loaded in the background, and /readyz says when it can be asked."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service = Service(settings, pipeline_factory)
        app.state.service = service
        service.start()
        try:
            yield
        finally:
            await service.stop()

    app = FastAPI(
        title="SureSQL",
        description=__doc__,
        version="0.1.0",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(BodyCap)
    app.add_middleware(Front, service=lambda: app.state.service)
    responses.install(app)
    _add_routes(app)
    return app


def _add_routes(app: FastAPI) -> None:
    @app.post("/v1/sql", summary="SQL for a question, and how sure it is")
    async def sql(body: Question, request: Request) -> SqlAnswer:
        service, caller = _service(request), _caller(request)
        caller.need(Scope.ASK)
        if body.execute:
            caller.need(Scope.EXECUTE)
        caller.need_database(body.database)
        database = await service.database(body.database)
        asking = service.ask_within_limits(caller, request.state.request_id, body.question, database)
        result = await _unless_gone(request, asyncio.create_task(asking))
        service.note_answer(caller, request.state.request_id, "/v1/sql", body.database, body.question, result)
        answer = _answer(result)
        if body.execute and result.sql:
            try:
                found = await service.execute(result.sql, database)
                answer.columns, answer.rows = found.columns, found.rows
            except Overloaded:
                raise
            except ServingError as error:
                answer.error = error.message
        return answer

    @app.post("/v1/execute", summary="Run one reading statement")
    async def execute(body: Statement, request: Request) -> Rows:
        service, caller = _service(request), _caller(request)
        caller.need(Scope.EXECUTE)
        caller.need_database(body.database)
        database = await service.database(body.database)
        status = 500
        try:
            found = await service.execute(body.sql, database)
            status = 200
        except ServingError as error:
            status = error.status
            raise
        finally:
            service.audit.write(
                caller, request.state.request_id, "/v1/execute", status, database=body.database, sql=body.sql
            )
        return Rows(columns=found.columns, rows=found.rows, truncated=found.truncated, ms=found.ms)

    @app.get("/v1/databases", summary="The databases that can be asked")
    async def databases(request: Request) -> list[DatabaseLine]:
        caller = _caller(request)
        caller.need(Scope.ASK)
        lines = await asyncio.to_thread(summaries, _service(request).databases)
        return [DatabaseLine(**line) for line in lines if caller.may_read(line["name"])]

    @app.get("/v1/databases/{name}", summary="A database's tables, columns and keys")
    async def schema(name: str, request: Request) -> dict[str, Any]:
        caller = _caller(request)
        caller.need(Scope.ASK)
        caller.need_database(name)
        database = await _service(request).database(name)
        return await asyncio.to_thread(describe, database)

    @app.get("/healthz", summary="Whether the process is alive")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", summary="Whether questions can be asked", response_model=dict[str, str])
    async def readyz(request: Request) -> JSONResponse | dict[str, str]:
        service = _service(request)
        if service.ready:
            return {"status": "ready"}
        if service.failure is not None:
            return responses.error_response(Overloaded(service.failure.message, service.failure.hint, 60))
        return responses.error_response(
            Overloaded("Stopping." if service.draining else "The model is loading.", "", 2)
        )

    @app.get("/", include_in_schema=False)
    async def home(request: Request) -> HTMLResponse:
        base = escape(str(request.base_url).rstrip("/"))
        return HTMLResponse(_HOME.read_text(encoding="utf-8").replace("{{base}}", base))


def _service(request: Request) -> Service:
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


def _caller(request: Request) -> Caller:
    return getattr(request.state, "caller", ANYONE)


async def _unless_gone(request: Request, future: asyncio.Future[AskResult]) -> AskResult:
    """The future's result, or Overloaded, which nobody reads, once the client has gone."""
    gone = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait((future, gone), return_when=asyncio.FIRST_COMPLETED)
        if not future.done():
            raise Overloaded("The client has gone.")
        return future.result()
    finally:
        gone.cancel()
        if not future.done():
            future.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _answer(result: AskResult) -> SqlAnswer:
    return SqlAnswer(
        sql=result.sql,
        confidence=result.confidence,
        abstain=result.abstain,
        signals=[Signal(name=s.name, value=s.value, ms=s.ms, note=s.note) for s in result.signals],
        rows=None,
        columns=None,
        model=result.model,
        usage=Usage(
            prompt_tokens=result.prompt_tokens, completion_tokens=result.completion_tokens, ms=result.ms
        ),
        error=result.error,
    )
