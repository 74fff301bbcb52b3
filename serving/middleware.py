"""A cap on request bodies, as plain ASGI: BaseHTTPMiddleware would hide from routes that a client left."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import MalformedBody, TooLarge
from .responses import error_response

MAX_BODY_BYTES = 1_000_000


class BodyCap:
    """Reads the body, up to the cap, before the application is called; over it answers 413."""

    def __init__(self, app: ASGIApp, max_bytes: int = MAX_BODY_BYTES) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        try:
            declared = int(headers.get(b"content-length", b"0"))
        except ValueError:
            await error_response(MalformedBody("The content-length is not a number."))(scope, receive, send)
            return
        body = bytearray()
        more = declared <= self.max_bytes
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = bool(message.get("more_body", False)) and len(body) <= self.max_bytes
        if declared > self.max_bytes or len(body) > self.max_bytes:
            error = TooLarge(f"The body is longer than {self.max_bytes:,} bytes.", "Send a shorter question.")
            await error_response(error)(scope, receive, send)
            return
        replayed = False

        async def replay() -> Message:
            nonlocal replayed
            if replayed:
                return await receive()
            replayed = True
            return {"type": "http.request", "body": bytes(body), "more_body": False}

        await self.app(scope, replay, send)
