"""A client that leaves while its question waits: the question never reaches the engine."""

import asyncio
import threading
from typing import Any

from leaving import post

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

    def ask(app: Any, question: str, gone: asyncio.Event) -> asyncio.Task[list[dict[str, Any]]]:
        return asyncio.create_task(post(app, "/v1/sql", {"question": question, "database": "demo"}, gone))

    async def scenario() -> None:
        app = create_app(settings, lambda _: Slow())  # type: ignore[arg-type,return-value]
        async with app.router.lifespan_context(app):
            await app.state.service.loaded()
            stays, leaves = asyncio.Event(), asyncio.Event()
            first = ask(app, "first", stays)
            assert await asyncio.to_thread(begun.wait, 10)
            second = ask(app, "second", leaves)
            third = ask(app, "third", stays)
            while app.state.service.waiting < 3:
                await asyncio.sleep(0)
            leaves.set()
            await second
            let_go.set()
            assert (await first)[0]["status"] == (await third)[0]["status"] == 200

    asyncio.run(scenario())
    assert asked == ["first", "third"]
