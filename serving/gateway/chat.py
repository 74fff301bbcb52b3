"""Questions on a database for whatever speaks OpenAI's chat: the model `suresql/DATABASE` answers with SQL and its confidence."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from ..errors import InvalidRequest
from ..pipeline import AskResult
from ..question import MAX_QUESTION_CHARS, flaw
from .caller import Scope
from .exchange import Exchange
from .local import event, messages

if TYPE_CHECKING:
    from ..service import Service

ASK_MODEL = "suresql"
_EVENTS = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"))


async def answer_question(exchange: Exchange, service: Service, fields: dict[str, Any]) -> None:
    """The last thing that the user said is the question; the answer's content is the SQL, and `suresql` what goes with it."""
    caller = exchange.caller
    caller.need(Scope.ASK)
    said = [one["content"] for one in messages(fields) if one["role"] == "user"]
    if not said:
        raise InvalidRequest("There is no message of the user.", "The last of them is the question.")
    question = said[-1]
    if found := flaw(question):
        raise InvalidRequest(f"The question is not as expected: {found}.")
    if len(question) > MAX_QUESTION_CHARS:
        raise InvalidRequest(f"The question is longer than {MAX_QUESTION_CHARS:,} characters.", "Shorten it.")
    _, _, name = str(fields["model"]).partition("/")
    name = name or str(fields.get("database") or "demo")
    caller.need_database(name)
    database = await service.database(name)
    result = await service.ask_within_limits(caller, question, database)
    service.note_answer(caller, exchange.id, exchange.route, name, question, result)
    await _reply(exchange, fields, result)


async def _reply(exchange: Exchange, fields: dict[str, Any], result: AskResult) -> None:
    head = {"id": f"chatcmpl-{exchange.id}", "created": int(time.time()), "model": fields["model"]}
    usage = {
        "prompt_tokens": result.prompt_tokens,
        "completion_tokens": result.completion_tokens,
        "total_tokens": result.prompt_tokens + result.completion_tokens,
    }
    more = {
        "confidence": result.confidence,
        "abstain": result.abstain,
        "error": result.error,
        "signals": [{"name": one.name, "value": one.value} for one in result.signals],
    }
    message = {"role": "assistant", "content": result.sql, "refusal": result.error}
    choice: dict[str, Any] = {"index": 0, "finish_reason": "stop", "logprobs": None}
    if not fields.get("stream"):
        whole = {
            **head,
            "object": "chat.completion",
            "choices": [{**choice, "message": message}],
            "usage": usage,
        }
        await exchange.answer(200, json.dumps({**whole, "suresql": more}).encode())
        return
    head["object"] = "chat.completion.chunk"
    await exchange.start(200, *_EVENTS)
    await exchange.write(event({**head, "choices": [{**choice, "delta": message, "finish_reason": None}]}))
    await exchange.write(event({**head, "choices": [{**choice, "delta": {}}], "suresql": more}))
    options = fields.get("stream_options")
    if isinstance(options, dict) and options.get("include_usage"):
        await exchange.write(event({**head, "choices": [], "usage": usage}))
    await exchange.write(b"data: [DONE]\n\n", more=False)
