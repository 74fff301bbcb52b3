"""One request on its way through the gateway, as raw ASGI: its body, its answer, its client's leaving, its errors' shape."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from starlette.types import Receive, Scope, Send

from ..errors import Gone, InvalidRequest, MalformedBody, ServingError, TooLarge
from .caller import ANYONE, Caller
from .kimi_calls import CallsInAnswers

MAX_BODY_BYTES = 1_000_000
_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
_JSON = (b"content-type", b"application/json")


class Exchange:
    """What is known of a request while it is answered."""

    __slots__ = (
        "_receive", "_send", "caller", "calls", "ended", "events", "first_s", "id", "route", "scope", "spent", "started",
        "status",
    )  # fmt: skip

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.started = time.perf_counter()
        self.caller: Caller = ANYONE
        self.status = 0
        self.events = False
        """Whether the answer is a stream of events."""
        self.ended = False
        """Whether the whole answer was handed over: from then on a server says that the client left, whether or not it did."""
        self.spent = 0
        """Tokens that its calls to engines took."""
        self.first_s: float | None = None
        self.calls: CallsInAnswers | None = None
        """Reads tool calls from an engine's answer, if they are wanted."""
        self.route = "other"
        given = self.header(b"x-request-id")
        self.id = given.decode() if given and _ID.fullmatch(given) else os.urandom(8).hex()
        self._receive = receive
        self._send = send

    def header(self, name: bytes) -> bytes | None:
        """A header's value, by its name in lower case."""
        for key, value in self.scope["headers"]:
            if key == name:
                return bytes(value)
        return None

    def trace_context(self) -> dict[str, str]:
        """The W3C headers by which the client names a trace."""
        return {
            key.decode(): value.decode("latin-1")
            for key, value in self.scope["headers"]
            if key in (b"traceparent", b"tracestate")
        }

    def key(self) -> str | None:
        """The API key that was sent."""
        given = self.header(b"authorization")
        if given and given[:7].lower() == b"bearer ":
            return given[7:].decode("latin-1").strip()
        other = self.header(b"x-api-key")
        return other.decode("latin-1").strip() if other else None

    async def body(self) -> bytes:
        """The request's body. Raises TooLarge, or Gone where the client left before its end."""
        declared = self.header(b"content-length")
        if declared is not None and not declared.isdigit():
            raise MalformedBody("The content-length is not a number.")
        parts = []
        size = int(declared or 0)
        while size <= MAX_BODY_BYTES:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Gone("The client left before its request's end.")
            part = message.get("body", b"")
            parts.append(part)
            if not message.get("more_body", False):
                return part if len(parts) == 1 else b"".join(parts)
            size = max(size, sum(map(len, parts)))
        raise TooLarge(f"The body is longer than {MAX_BODY_BYTES:,} bytes.", "Send a shorter request.")

    async def fields(self) -> dict[str, Any]:
        """The request's body, a JSON object. Raises MalformedBody and InvalidRequest."""
        content = await self.body()
        try:
            found = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise MalformedBody("The body is not JSON.", "Send an object of OpenAI's API.") from error
        if not isinstance(found, dict):
            raise InvalidRequest(
                "The body is not a JSON object.",
                "Send an object of OpenAI's API, with model and messages or prompt.",
            )
        return found

    async def start(self, status: int, *headers: tuple[bytes, bytes]) -> None:
        """Send the status and the headers."""
        self.status = status
        self.events = any(
            key == b"content-type" and value.startswith(b"text/event-stream") for key, value in headers
        )
        await self._send(
            {"type": "http.response.start", "status": status,
             "headers": [*headers, (b"x-request-id", self.id.encode())]}
        )  # fmt: skip

    async def write(self, part: bytes, more: bool = True) -> None:
        """Send a piece of the answer."""
        if self.calls is not None:
            part = self.calls.part(part, more)
            if more and not part:
                return
        if self.first_s is None:
            self.first_s = time.perf_counter() - self.started
        self.ended = not more
        await self._send({"type": "http.response.body", "body": part, "more_body": more})

    async def answer(self, status: int, content: bytes, *headers: tuple[bytes, bytes]) -> None:
        """Send a whole answer in JSON."""
        if self.calls is not None and status == 200:
            content = self.calls.whole(content)
        self.calls = None
        await self.start(status, _JSON, (b"content-length", b"%d" % len(content)), *headers)
        await self.write(content, more=False)

    async def break_off(self, error: ServingError) -> None:
        """End an answer that has begun: a stream of events says why, any other is cut short by the server."""
        if self.events:
            await self.write(b"data: " + error_body(error) + b"\n\n", more=False)

    async def refuse(self, error: ServingError) -> None:
        """Send an error in OpenAI's shape, our hint with it."""
        headers = []
        if error.retry_after_s:
            headers.append((b"retry-after", b"%d" % error.retry_after_s))
        if error.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        await self.answer(error.status, error_body(error), *headers)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Cancels the task within when the client leaves; that comes out as Gone."""
        task = asyncio.current_task()
        assert task is not None
        left = asyncio.ensure_future(self._left())
        gone = False

        def stop(done: asyncio.Future[None]) -> None:
            nonlocal gone
            if not done.cancelled() and not finished and not self.ended:
                gone = True
                task.cancel()

        finished = False
        left.add_done_callback(stop)
        try:
            yield
        except asyncio.CancelledError:
            if gone and task.uncancel() == 0:
                raise Gone("The client has gone.") from None
            raise
        finally:
            finished = True
            left.cancel()

    async def _left(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass


def error_body(error: ServingError) -> bytes:
    """{"error": {"message", "type", "param", "code", "hint"}}"""
    shape = {
        "message": error.message,
        "type": error.type,
        "param": None,
        "code": error.type,
        "hint": error.hint,
    }
    return json.dumps({"error": shape}).encode()
