"""An OpenAI server that does no work: what stands before it is all that a request costs. Run as a module.

python -m serving.bench.mock_engine MODEL PORT [SECONDS AT_ONCE]     # each answer takes so long, and so many are made at one time
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import uvicorn

CHUNKS = 32
_ANSWER = json.dumps(
    {
        "id": "cmpl-0", "object": "text_completion", "created": 0, "model": "mock",
        "choices": [{"index": 0, "text": " SELECT 1" * 8, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 32, "total_tokens": 132},
    }
).encode()  # fmt: skip
_CHUNK = json.dumps(
    {
        "id": "cmpl-0", "object": "text_completion", "created": 0, "model": "mock",
        "choices": [{"index": 0, "text": " SELECT", "logprobs": None, "finish_reason": None}],
    }
).encode()  # fmt: skip
_USAGE = json.dumps(
    {
        "id": "cmpl-0", "object": "text_completion", "created": 0, "model": "mock", "choices": [],
        "usage": {"prompt_tokens": 100, "completion_tokens": 32, "total_tokens": 132},
    }
).encode()  # fmt: skip


def engine(model: str, seconds: float = 0.0, at_once: int = 1) -> Any:
    """The server, as ASGI."""
    slots = asyncio.Semaphore(at_once)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        content, kind = b"{}", b"application/json"
        if scope["path"] == "/v1/models":
            served = {"id": model, "object": "model", "created": 0, "owned_by": "mock"}
            content = json.dumps({"object": "list", "data": [served]}).encode()
        elif scope["method"] == "POST":
            body = b""
            more = True
            while more:
                message = await receive()
                body += message.get("body", b"")
                more = message.get("more_body", False)
            if scope["path"] == "/v1/traces":  # a collector, too
                content, kind = b"", b"application/x-protobuf"
            elif json.loads(body).get("stream"):
                await send(
                    {
                        "type": "http.response.start",
                        "status": 200,
                        "headers": [(b"content-type", b"text/event-stream")],
                    }
                )
                for _ in range(CHUNKS):
                    await send(
                        {
                            "type": "http.response.body",
                            "body": b"data: " + _CHUNK + b"\n\n",
                            "more_body": True,
                        }
                    )
                await send(
                    {"type": "http.response.body", "body": b"data: " + _USAGE + b"\n\ndata: [DONE]\n\n"}
                )
                return
            else:
                if seconds:
                    async with slots:
                        await asyncio.sleep(seconds)
                content = _ANSWER
        await send(
            {"type": "http.response.start", "status": 200,
             "headers": [(b"content-type", kind), (b"content-length", b"%d" % len(content))]}
        )  # fmt: skip
        await send({"type": "http.response.body", "body": content})

    return app


if __name__ == "__main__":
    model, port, *more = sys.argv[1:]
    made = engine(model, float(more[0]), int(more[1])) if more else engine(model)
    uvicorn.run(made, port=int(port), log_level="error", lifespan="off")
