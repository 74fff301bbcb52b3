"""Questions on a database for whatever speaks OpenAI's chat: the model `suresql/DATABASE` answers with SQL and its confidence.

Where the client offers a tool that takes SQL, the answer is a call of it: sql_tool.py says when.
"""

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
from .sql_tool import call_of, sql_tool

if TYPE_CHECKING:
    from ..service import Service

ASK_MODEL = "suresql"
_EVENTS = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"))


async def answer_question(exchange: Exchange, service: Service, fields: dict[str, Any]) -> None:
    """The last thing that the user said is the question; the answer's content is the SQL, and `suresql` what goes with it."""
    caller = exchange.caller
    caller.need(Scope.ASK)
    tool, forced = sql_tool(fields)
    question = _questions(fields)[-1]
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
    calls = (
        [call_of(tool, result.sql, fields)] if tool and result.sql and (forced or not result.abstain) else []
    )
    await _reply(exchange, fields, result, calls)


def _questions(fields: dict[str, Any]) -> list[str]:
    """What users said; beside them, an assistant's calls and a tool's results have no text that is needed."""
    given = fields.get("messages")
    if isinstance(given, list) and given and all(isinstance(one, dict) and "role" in one for one in given):
        given = [one for one in given if one["role"] == "user"]
        if not given:
            raise InvalidRequest("There is no message of the user.", "The last of them is the question.")
    return [one["content"] for one in messages({"messages": given})]


async def _reply(
    exchange: Exchange, fields: dict[str, Any], result: AskResult, calls: list[dict[str, Any]]
) -> None:
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
    message: dict[str, Any] = {"role": "assistant", "content": result.sql, "refusal": result.error}
    if calls:
        message |= {"content": None, "tool_calls": calls}
    reason = "tool_calls" if calls else "stop"
    choice: dict[str, Any] = {"index": 0, "finish_reason": reason, "logprobs": None}
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
    if calls:
        message["tool_calls"] = [{"index": number, **call} for number, call in enumerate(calls)]
    await exchange.write(event({**head, "choices": [{**choice, "delta": message, "finish_reason": None}]}))
    await exchange.write(event({**head, "choices": [{**choice, "delta": {}}], "suresql": more}))
    options = fields.get("stream_options")
    if isinstance(options, dict) and options.get("include_usage"):
        await exchange.write(event({**head, "choices": [], "usage": usage}))
    await exchange.write(b"data: [DONE]\n\n", more=False)
