"""The HTTP service: questions to SQL with a confidence, statements run for reading, and schemas."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import escape
from pathlib import Path
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from . import feedback_routes, ledger_routes, responses
from .administrator import administrator
from .bodies import (
    Batch,
    BatchLine,
    DatabaseLine,
    Doubt,
    Failure,
    NewDatabase,
    Problem,
    Question,
    Rows,
    Signal,
    SqlAnswer,
    Statement,
    Usage,
)
from .databases import describe, summaries
from .errors import Gone, InvalidRequest, Overloaded, ServingError
from .events import Events, event
from .gateway.caller import ANYONE, Caller, Scope
from .gateway.front import Front
from .middleware import BodyCap
from .pipeline import AskResult
from .progress import Listener
from .service import PipelineFactory, Service
from .settings import Settings
from .tracing import waited

T = TypeVar("T")
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": Problem, "description": "The request cannot be answered"},
    "5XX": {"model": Problem, "description": "Not ready, too busy, or broken"},
}
_DOCS = Path(__file__).with_name("docs.html")
_HOME = Path(__file__).with_name("home.html")


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
        responses=_PROBLEMS,
        docs_url=None,
        redoc_url=None,
        telemetry={"tracing": False},  # serving.tracing has the spans
    )
    app.add_middleware(BodyCap)
    app.add_middleware(Front, service=lambda: app.state.service)
    responses.install(app)
    _add_routes(app)
    feedback_routes.install(app)
    ledger_routes.install(app)
    return app


def _add_routes(app: FastAPI) -> None:
    @app.post(
        "/v1/sql",
        summary="SQL for a question, and how sure it is",
        response_model=SqlAnswer,
        responses={200: {"content": {"text/event-stream": {}}}},
    )
    async def sql(body: Question, request: Request) -> SqlAnswer | Response:
        if body.stream:
            return await _streamed(body, request)
        return await _unless_gone(request, asyncio.create_task(_asked(body, request)))

    @app.post("/v1/sql/batch", summary="SQL for several questions")
    async def batch(body: Batch, request: Request) -> list[BatchLine]:
        async def one(question: Question, number: int) -> BatchLine:
            try:
                return BatchLine(answer=await _asked(question, request, f"-{number}"))
            except ServingError as error:
                failure = Failure(type=error.type, message=error.message, hint=error.hint)
                return BatchLine(error=failure)

        if any(question.stream for question in body.questions):
            raise InvalidRequest("The questions of a batch are not streamed.", "Leave stream out.")
        asking = asyncio.gather(*(one(question, i) for i, question in enumerate(body.questions)))
        return await _unless_gone(request, asking)

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

    @app.post("/v1/databases", summary="Register a database", status_code=201)
    async def add(body: NewDatabase, request: Request) -> DatabaseLine:
        service, caller = _service(request), administrator(request)
        folder = service.settings.home / "databases"
        database = await asyncio.to_thread(service.databases.add, body.name, body.url, files_in=folder)
        service.audit.write(
            caller, request.state.request_id, "/v1/databases", 201, database=body.name, what="add"
        )
        tables = [table.name for table in database.schema().tables]
        return DatabaseLine(name=body.name, dialect=database.dialect, tables=tables)

    @app.delete("/v1/databases/{name}", summary="Forget a database", status_code=204)
    async def remove(name: str, request: Request) -> None:
        service, caller = _service(request), administrator(request)
        await asyncio.to_thread(service.databases.remove, name)
        service.audit.write(
            caller, request.state.request_id, "/v1/databases", 204, database=name, what="remove"
        )

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
        if service.ready and service.engines_away:
            return responses.error_response(
                Overloaded("No engine answers.", "They are asked again every half a second.", 2)
            )
        if service.ready:
            return {"status": "ready"}
        if service.failure is not None:
            return responses.error_response(Overloaded(service.failure.message, service.failure.hint, 60))
        return responses.error_response(
            Overloaded("Stopping." if service.draining else "The model is loading.", "", 2)
        )

    @app.get("/metrics", include_in_schema=False)
    async def metrics(request: Request) -> Response:
        return Response(_service(request).figures(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(_DOCS.read_text(encoding="utf-8"))

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


async def _asked(
    body: Question, request: Request, suffix: str = "", listen: Listener | None = None
) -> SqlAnswer:
    """The answer to a question, rows included where they are wanted and may be had."""
    service, caller, number = _service(request), _caller(request), request.state.request_id + suffix
    waited("parse", [request.state.received_ns])
    caller.need(Scope.ASK)
    if body.execute:
        caller.need(Scope.EXECUTE)
    caller.need_database(body.database)
    database = await service.database(body.database)
    result = await service.ask_within_limits(caller, body.question, database, listen)
    service.note_answer(caller, number, request.url.path, body.database, body.question, result)
    answer = _answer(result)
    answer.id = service.remember(caller, body.question, body.database, result)
    if body.execute and result.sql:
        try:
            found = await service.execute(result.sql, database)
            answer.columns, answer.rows = found.columns, found.rows
        except Overloaded:
            raise
        except ServingError as error:
            answer.error = error.message
    return answer


async def _streamed(body: Question, request: Request) -> Response:
    """Events: `sql`, a `signal` for each, and the `answer`, or an `error`; an error before the first is a status."""
    known: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def listen(kind: str, content: dict[str, Any]) -> None:
        loop.call_soon_threadsafe(known.put_nowait, (kind, content))

    async def asking() -> SqlAnswer:
        answer = await _asked(body, request, listen=listen)
        known.put_nowait(("answer", answer.model_dump(mode="json")))
        return answer

    task = asyncio.create_task(asking())
    first = asyncio.create_task(known.get())
    gone = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait((task, first, gone), return_when=asyncio.FIRST_COMPLETED)
    except BaseException:
        task.cancel()
        raise
    finally:
        gone.cancel()
    if not first.done() and not task.done():
        task.cancel()
        first.cancel()
        raise Gone("The client has gone.")
    if not first.done():
        first.cancel()
        return JSONResponse(task.result().model_dump(mode="json"))  # raises what kept it from an answer

    async def rest() -> AsyncIterator[bytes]:
        kind = first.result()[0]
        try:
            while kind != "answer":
                getting = asyncio.create_task(known.get())
                await asyncio.wait((getting, task), return_when=asyncio.FIRST_COMPLETED)
                if not getting.done() and known.empty() and task.exception() is not None:
                    getting.cancel()
                    error = task.exception()
                    told = error if isinstance(error, ServingError) else ServingError("Something went wrong.")
                    yield event("error", {"type": told.type, "message": told.message, "hint": told.hint})
                    return
                kind, content = await getting
                yield event(kind, content)
        finally:
            task.cancel()

    return Events(event(*first.result()), rest())


async def _unless_gone(request: Request, future: asyncio.Future[T]) -> T:
    """The future's result; Gone, which nobody reads, once the client has left."""
    gone = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait((future, gone), return_when=asyncio.FIRST_COMPLETED)
        if not future.done():
            raise Gone("The client has gone.")
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
        id="",
        sql=result.sql,
        confidence=result.confidence,
        abstain=result.abstain,
        signals=[
            Signal(name=s.name, value=s.value, ms=s.ms, note=s.note, cost=s.cost) for s in result.signals
        ],
        doubts=[Doubt(kind=d.kind, what=d.what, note=d.note) for d in result.doubts],
        rows=None,
        columns=None,
        model=result.model,
        usage=Usage(
            prompt_tokens=result.prompt_tokens, completion_tokens=result.completion_tokens, ms=result.ms
        ),
        error=result.error,
    )
