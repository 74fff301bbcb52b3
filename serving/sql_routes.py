"""Questions over HTTP: SQL with a confidence, in one piece, as events, or for several questions at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from .bodies import Batch, BatchLine, Doubt, Failure, Question, Signal, SqlAnswer, Usage
from .errors import Gone, InvalidRequest, Overloaded, ServingError
from .events import Events, event
from .gateway.caller import Scope
from .pipeline import AskResult
from .progress import Listener
from .request_context import caller_of, service_of
from .tracing import waited

T = TypeVar("T")


def install(app: FastAPI) -> None:
    """Add POST /v1/sql and /v1/sql/batch."""

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


async def _asked(
    body: Question, request: Request, suffix: str = "", listen: Listener | None = None
) -> SqlAnswer:
    """The answer to a question, rows included where they are wanted and may be had."""
    service, caller, number = service_of(request), caller_of(request), request.state.request_id + suffix
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
