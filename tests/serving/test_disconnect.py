"""A client that leaves while its question waits: the question never reaches the engine."""

import asyncio
import json
import threading
from typing import Any

from serving.app import create_app
from serving.databases import Database
from serving.pipeline import AskResult
from serving.settings import Settings

ANSWER = AskResult("SELECT 1", 0.9, False, [], "m", 1, 1, 1.0)


def test_a_question_whose_client_has_gone_is_dropped(settings: Settings) -> None:
    asked: list[str] = []
    begun, let_go = threading.Event(), threading.Event()

    class Slow:
        engine = None

        def ask(self, questions: list[tuple[str, Database]]) -> list[AskResult]:
            asked.extend(question for question, _ in questions)
            begun.set()
            assert let_go.wait(10)
            return [ANSWER] * len(questions)

    async def post(app: Any, question: str, gone: asyncio.Event) -> list[dict[str, Any]]:
        body = json.dumps({"question": question, "database": "demo"}).encode()
        messages = [{"type": "http.request", "body": body, "more_body": False}]
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
            "path": "/v1/sql", "raw_path": b"/v1/sql", "query_string": b"", "root_path": "", "scheme": "http",
            "server": ("x", 80), "client": ("y", 1), "headers": [(b"content-type", b"application/json")],
            "state": {},
        }  # fmt: skip
        await app(scope, receive, send)
        return sent

    async def scenario() -> None:
        app = create_app(settings, lambda _: Slow())  # type: ignore[arg-type,return-value]
        async with app.router.lifespan_context(app):
            await app.state.service.loaded()
            stays, leaves = asyncio.Event(), asyncio.Event()
            first = asyncio.create_task(post(app, "first", stays))
            assert await asyncio.to_thread(begun.wait, 10)
            second = asyncio.create_task(post(app, "second", leaves))
            third = asyncio.create_task(post(app, "third", stays))
            while app.state.service.waiting < 3:
                await asyncio.sleep(0)
            leaves.set()
            await second
            let_go.set()
            assert (await first)[0]["status"] == (await third)[0]["status"] == 200

    asyncio.run(scenario())
    assert asked == ["first", "third"]
