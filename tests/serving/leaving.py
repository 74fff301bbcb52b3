"""A client that posts to the application and goes when it is told to: no network is between them."""

import asyncio
import json
from typing import Any


async def post(app: Any, path: str, body: dict[str, Any], gone: asyncio.Event) -> list[dict[str, Any]]:
    """What the application sent to a client that stays until `gone`."""
    messages = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "scheme": "http",
        "server": ("x", 80), "client": ("y", 1), "headers": [(b"content-type", b"application/json")], "state": {},
    }  # fmt: skip
    await app(scope, receive, send)
    return sent
