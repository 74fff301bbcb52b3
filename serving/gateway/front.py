"""The outermost of the application: who asks, OpenAI's routes without a framework around them, metrics, and a log if wanted.

Raw ASGI throughout: routing and validation by FastAPI cost as much as all of this, and BaseHTTPMiddleware would hide from
routes that a client left.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..engines.calling import new_call
from ..engines.opening import OWNER
from ..errors import (
    DeadlinePassed,
    EngineError,
    Gone,
    InvalidRequest,
    NoSuchModel,
    Overloaded,
    ServingError,
)
from ..responses import error_response
from ..tracing import Request, now_ns, waited
from .caller import Caller
from .caller import Scope as Right
from .chat import ASK_MODEL, answer_question
from .exchange import Exchange
from .kimi_calls import CallsInAnswers, asked_of_engine
from .proxy import start_of

if TYPE_CHECKING:
    from ..service import Service

_OPEN = ("/healthz", "/readyz", "/metrics", "/docs", "/openapi.json", "/")
_TEMPLATES = (
    "/v1/sql",
    "/v1/sql/batch",
    "/v1/execute",
    "/v1/databases",
    "/v1/feedback",
    "/v1/ledger",
    "/v1/ledger/calls",
    *_OPEN,
)
_COMPLETIONS, _CHAT, _MODELS = "/v1/completions", "/v1/chat/completions", "/v1/models"
DEFAULT_TOKENS = 256
"""Expected of a completion that sets no limit."""
BYTES_PER_TOKEN = 2
"""Of a prompt, at the least that SQL and schemas come to; what is held for a request is settled when it is known."""


class Front:
    """Wraps the application; `service` finds what stands behind it once that has started."""

    def __init__(self, app: ASGIApp, service: Callable[[], Service]) -> None:
        self._app = app
        self._service = service
        self._routes: dict[tuple[str, str], Callable[[Exchange, Service], Awaitable[None]]] = {
            ("POST", _COMPLETIONS): self._complete,
            ("POST", _CHAT): self._complete,
            ("GET", _MODELS): self._models,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        service = self._service()
        exchange = Exchange(scope, receive, send)
        tracing = None if scope["path"] in _OPEN else service.tracing
        with Request(tracing, exchange.trace_context()) as traced:
            try:
                await self._answer(exchange, service, scope, receive, send)
            finally:
                if tracing is not None:
                    _describe(traced, exchange)

    async def _answer(
        self, exchange: Exchange, service: Service, scope: Scope, receive: Receive, send: Send
    ) -> None:
        path = scope["path"]
        try:
            raw = self._routes.get((scope["method"], path))
            exchange.route = path if raw is not None else _template(path)
            if service.settings.needs_keys and path not in _OPEN:
                exchange.caller = service.keys.check(exchange.key())
            async with _deadline(service.settings.request_timeout_s):
                if raw is not None:
                    await raw(exchange, service)
                else:
                    await self._inner(exchange, scope, receive)
        except Gone:
            exchange.status = exchange.status or Gone.status
        except ServingError as error:
            if error.status >= 500 and not error.retry_after_s:
                print(f"{error.type}: {error.message}", file=sys.stderr)
            if isinstance(error, Overloaded):
                service.metrics.refused.labels(error.type).inc()
            if not exchange.status:
                await self._refuse(exchange, error, scope, receive, send, raw is not None)
            elif isinstance(error, DeadlinePassed):
                await exchange.break_off(error)
        except asyncio.CancelledError:  # the server ends and waits no longer, as after a second SIGTERM
            stopping = Overloaded("The server is stopping.", "Ask another, or try again shortly.", 2)
            if exchange.status:
                await exchange.break_off(stopping)
            else:
                await self._refuse(exchange, stopping, scope, receive, send, raw is not None)
            raise
        except Exception:
            exchange.status = exchange.status or 500
            raise
        finally:
            self._note(exchange, service)

    async def _refuse(
        self, exchange: Exchange, error: ServingError, scope: Scope, receive: Receive, send: Send, raw: bool
    ) -> None:
        if raw:
            await exchange.refuse(error)
            return
        exchange.status = error.status
        await error_response(error)(scope, receive, send)

    async def _inner(self, exchange: Exchange, scope: Scope, receive: Receive) -> None:
        """FastAPI's routes."""
        scope.setdefault("state", {})
        scope["state"]["caller"] = exchange.caller
        scope["state"]["request_id"] = exchange.id
        scope["state"]["received_ns"] = now_ns()

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                await exchange.start(message["status"], *message.get("headers", ()))
            else:
                await exchange.write(message.get("body", b""), bool(message.get("more_body", False)))

        await self._app(scope, receive, sending)

    async def _models(self, exchange: Exchange, service: Service) -> None:
        exchange.caller.need(Right.ASK)
        await service.until_ready()
        assert service.pipeline is not None
        made = int(service.started)
        names = [service.pipeline.engine.model_name, ASK_MODEL]
        models = [{"id": name, "object": "model", "created": made, "owned_by": OWNER} for name in names]
        if service.proxy is not None:
            models[0]["owned_by"] = "engine"
        await exchange.answer(200, json.dumps({"object": "list", "data": models}).encode())

    async def _complete(self, exchange: Exchange, service: Service) -> None:
        caller = exchange.caller
        caller.need(Right.ASK)
        chat = exchange.route == _CHAT
        fields = await exchange.fields()
        await service.until_ready()
        model = fields.get("model")
        if not isinstance(model, str):
            raise InvalidRequest("model must name a model.", "GET /v1/models lists those that there are.")
        with exchange.watched():
            if model == ASK_MODEL or model.startswith(ASK_MODEL + "/"):
                if not chat:
                    raise NoSuchModel(f"The model {ASK_MODEL} converses: use {_CHAT}.")
                await answer_question(exchange, service, fields)
                return
            await self._on_engine(exchange, service, caller, fields, chat)

    async def _on_engine(
        self, exchange: Exchange, service: Service, caller: Caller, fields: dict[str, Any], chat: bool
    ) -> None:
        prompt, most = _expected(exchange, fields)
        if chat and fields.get("tools") and service.proxy is not None:
            fields = asked_of_engine(fields, service.settings.engine_tools)
            exchange.calls = CallsInAnswers()
        held = await service.ledger.reserve(caller, new_call(), prompt + most)
        kind = service.durations.kind(caller.tenant, start_of(fields), most)
        expected_s = service.durations.expect(kind, most)
        try:
            since = now_ns()
            if await service.slots.acquire(caller.tenant, prompt + most, expected_s):
                waited("queue", [since])
            started = time.perf_counter()
            status = Gone.status
            try:
                if service.proxy is not None:
                    await service.proxy.complete(exchange, exchange.route, fields, prompt + most, expected_s)
                elif service.local is not None:
                    await service.local.complete(exchange, fields, chat, prompt + most)
                else:
                    raise EngineError("This engine completes nothing but its own prompts.")
                status = exchange.status
            except ServingError as error:
                status = error.status
                raise
            finally:
                spent = exchange.spent
                seconds = time.perf_counter() - started
                service.slots.release(caller.tenant, seconds, spent - prompt - most)
                if status == 200:
                    service.durations.learn(kind, most, seconds)
                service.audit.write(
                    caller, exchange.id, exchange.route, status, model=fields["model"], tokens=spent
                )
        finally:
            if held is not None:
                await service.ledger.settle(held, exchange.spent)
        if exchange.spent:
            service.metrics.tokens.labels("completions").inc(exchange.spent)

    def _note(self, exchange: Exchange, service: Service) -> None:
        """Metrics of the request, and its line in the log."""
        seconds = time.perf_counter() - exchange.started
        service.metrics.answered(exchange.route, exchange.status, seconds)
        if exchange.first_s is not None:
            service.metrics.first_byte.labels(exchange.route).observe(exchange.first_s)
        if service.settings.access_log:
            line = {
                "time": round(time.time(), 3), "request": exchange.id, "key": exchange.caller.key,
                "method": exchange.scope["method"], "route": exchange.route, "status": exchange.status,
                "ms": round(seconds * 1000, 1),
            }  # fmt: skip
            if exchange.first_s is not None:
                line["first_ms"] = round(exchange.first_s * 1000, 1)
            sys.stderr.write(json.dumps(line) + "\n")


def _describe(traced: Request, exchange: Exchange) -> None:
    method = exchange.scope["method"]
    traced.end(
        f"{method} {exchange.route}",
        exchange.status,
        {
            "http.request.method": method, "http.route": exchange.route, "suresql.request_id": exchange.id,
            "suresql.key": exchange.caller.key,
        },
    )  # fmt: skip


@asynccontextmanager
async def _deadline(seconds: float) -> AsyncIterator[None]:
    """Raises DeadlinePassed where what is within takes longer."""
    try:
        async with asyncio.timeout(seconds) as limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise DeadlinePassed(
            f"The request took longer than {seconds:g} s, which is all that one may.",
            "Ask for less at once, or try again when there is less to do.",
        ) from error


def _expected(exchange: Exchange, fields: dict[str, Any]) -> tuple[int, int]:
    """Tokens that a request may take: of its prompt, and of its answers."""
    size = exchange.header(b"content-length")
    prompt = fields.get("prompt")
    many = len(prompt) if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int) else 1
    if many == 1 and isinstance(prompt, list) and prompt and isinstance(prompt[0], int):
        length = len(prompt)
    else:
        length = int(size) // BYTES_PER_TOKEN if size else len(json.dumps(fields)) // BYTES_PER_TOKEN
    most = fields.get("max_completion_tokens") or fields.get("max_tokens") or DEFAULT_TOKENS
    n = fields.get("n") or 1
    if not isinstance(most, int) or not isinstance(n, int) or not 0 < most <= 2**20 or not 0 < n <= 2**10:
        raise InvalidRequest("max_tokens and n must be positive whole numbers.")
    return length, most * n * many


def _template(path: str) -> str:
    if path in _TEMPLATES:
        return path
    return "/v1/databases/{name}" if path.startswith("/v1/databases/") else "other"
