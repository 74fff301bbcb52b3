"""OpenAI's completions on the engine in this process, with what `OpenAIEngine` asks of a SureSQL beside them.

Some are vLLM's additions, some are our own: `prompt_logprobs_from`, `suresql_binding`, and a `use_beam_search` that takes a
mask and ends when it is done. So one SureSQL can be another's engine. The model here is a small one that writes short texts: a
stream's text comes in one piece.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from corpus.grammar_tokens import Grammar

from ..engines.calling import CALL_HEADER, call_named
from ..engines.cancel import Cancel, stoppable
from ..engines.embedded import EmbeddedEngine
from ..engines.engine import Completion
from ..engines.told_binding import FIELD, binding_of
from ..errors import BadTools, InvalidRequest, NoSuchModel, ServingError
from .calls import Call, Calls
from .exchange import Exchange

T = TypeVar("T")
MAX_PROMPTS = 64
MAX_N = 16
MAX_NEW_TOKENS = 2_048
_EVENTS = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"))
Prompt = str | list[int]


class LocalCompletions:
    """Answers /v1/completions and /v1/chat/completions."""

    def __init__(self, engine: EmbeddedEngine, calls: Calls) -> None:
        self.engine = engine
        self._calls = calls

    async def complete(self, exchange: Exchange, fields: dict[str, Any], chat: bool, tokens: int) -> None:
        """Answer the exchange; what is charged for it is the exchange's to keep. `tokens` are expected.

        Raises InvalidRequest, PromptTooLong and kin.
        """
        given = exchange.header(CALL_HEADER.encode())
        with self._calls.made(exchange, tokens, call_named(given)) as call:
            try:
                await self._complete(exchange, fields, chat, call)
            except (ServingError, ValueError):
                call.took(0, "it was refused")
                raise

    async def _complete(self, exchange: Exchange, fields: dict[str, Any], chat: bool, call: Call) -> None:
        if fields.get("model") not in (None, self.engine.model_name):
            raise NoSuchModel(
                f"There is no model {str(fields['model'])[:64]!r} here.",
                "GET /v1/models lists those that there are.",
            )
        if chat and fields.get("tools") and fields.get("tool_choice") != "none":
            raise BadTools(
                f"The model {self.engine.model_name} calls no tools.",
                "The model suresql/DATABASE calls one that takes sql; or leave tools out.",
            )
        prompts = [self._conversation(fields)] if chat else _prompts(fields)
        if _integer(fields, "prompt_logprobs", 0, 20) is not None and not chat:
            await self._score(exchange, fields, prompts, call)
            return
        n = _integer(fields, "n", 1, MAX_N) or 1
        most = _integer(fields, "max_completion_tokens", 1, MAX_NEW_TOKENS)
        most = most or _integer(fields, "max_tokens", 1, MAX_NEW_TOKENS) or (256 if chat else 16)
        temperature = _number(fields, "temperature", 0.0, 10.0)
        beams = bool(fields.get("use_beam_search"))
        temperature = 0.0 if beams else 1.0 if temperature is None else temperature
        if temperature == 0 and not beams:
            n, copies = 1, n
        else:
            copies = 1
        seed = _integer(fields, "seed", -(2**63), 2**63 - 1)
        allowed = _token_ids(fields.get("allowed_token_ids"))
        binding = None if fields.get(FIELD) is None else binding_of(fields[FIELD])

        def write() -> list[list[Completion]]:
            grammars = None
            if binding is not None:
                grammars = [Grammar(binding, self.engine.grammar_vocabulary) for _ in prompts]
            return self.engine.generate(
                prompts, max_tokens=most, n=n, temperature=temperature, seed=None if seed is None else seed % 2**63,
                allowed=None if allowed is None else [allowed] * len(prompts), constraints=grammars,
            )  # fmt: skip

        found = await self._run(write)
        completions = [one for several in found for one in (several * copies if copies > 1 else several)]
        prompt_tokens = sum(several[0].prompt_tokens for several in found)
        usage = _usage(prompt_tokens, sum(len(one.token_ids) for one in completions))
        stop = _stops(fields.get("stop"))
        logprobs = bool(fields.get("logprobs")) or fields.get("logprobs") == 0
        choices = [
            self._choice(number, one, chat, stop, logprobs and fields.get("logprobs") is not False)
            for number, one in enumerate(completions)
        ]
        self._took(exchange, call, usage)
        await self._reply(exchange, fields, chat, choices, usage)

    def _took(self, exchange: Exchange, call: Call, usage: dict[str, int]) -> None:
        """Known, and on its way to the disk, before the answer is on its way to the client."""
        call.took(usage["total_tokens"])
        self._calls.note("did", call.name, call.tokens, exchange.id, exchange.caller.key)

    async def _score(
        self, exchange: Exchange, fields: dict[str, Any], prompts: Sequence[Prompt], call: Call
    ) -> None:
        """Log-probabilities of prompts, from the token that `prompt_logprobs_from` numbers (our own addition)."""
        start = _integer(fields, "prompt_logprobs_from", 1, 2**31) or 1
        ids = [self.engine.encode(prompt) for prompt in prompts]
        if any(len(one) <= start for one in ids):
            raise InvalidRequest(
                f"A prompt has {min(map(len, ids))} tokens; more than {start} are needed to score it."
            )
        scores = await self._run(
            lambda: self.engine.score([one[:start] for one in ids], [one[start:] for one in ids])
        )
        choices = []
        for number, (one, logprobs) in enumerate(zip(ids, scores, strict=True)):
            rows: list[Any] = [None] * start
            rows += [{str(i): {"logprob": p}} for i, p in zip(one[start:], logprobs, strict=True)]
            choices.append(
                {
                    "index": number,
                    "text": "",
                    "logprobs": None,
                    "finish_reason": "length",
                    "prompt_logprobs": rows,
                }
            )
        usage = _usage(sum(map(len, ids)), 0)
        self._took(exchange, call, usage)
        await self._reply(exchange, {**fields, "stream": False}, False, choices, usage)

    async def _run(self, work: Callable[[], T]) -> T:
        """In a thread; when this task is cancelled, the engine stops within a step, and until then the slot is not free."""
        flag = Cancel()

        def stopping() -> T:
            with stoppable(flag):
                return work()

        work_done = asyncio.ensure_future(asyncio.to_thread(stopping))
        try:
            return await asyncio.shield(work_done)
        except asyncio.CancelledError:
            flag.set()
            await asyncio.wait((work_done,))
            if not work_done.cancelled():
                work_done.exception()  # Gone, which nobody asks for
            raise

    def _conversation(self, fields: dict[str, Any]) -> str:
        return self.engine.conversation(messages(fields))

    def _choice(
        self, number: int, one: Completion, chat: bool, stop: Sequence[str], logprobs: bool
    ) -> dict[str, Any]:
        text, reason = one.text, str(one.finish_reason)
        cut = min((at for at in (text.find(end) for end in stop) if at >= 0), default=None)
        if cut is not None:
            text, reason = text[:cut], "stop"
        tokens = [self.engine.token(i) for i in one.token_ids]
        choice: dict[str, Any] = {"index": number, "finish_reason": reason, "logprobs": None}
        if chat:
            choice["message"] = {"role": "assistant", "content": text, "refusal": None}
            if logprobs:
                choice["logprobs"] = {
                    "content": [
                        {"token": token, "logprob": p, "bytes": list(token.encode()), "top_logprobs": []}
                        for token, p in zip(tokens, one.logprobs, strict=True)
                    ],
                    "refusal": None,
                }
            return choice
        choice["text"] = text
        choice["token_ids"] = list(one.token_ids)
        if logprobs:
            offsets = [0]
            for token in tokens[:-1]:
                offsets.append(offsets[-1] + len(token))
            choice["logprobs"] = {
                "tokens": tokens, "token_logprobs": list(one.logprobs), "top_logprobs": None, "text_offset": offsets,
            }  # fmt: skip
        return choice

    async def _reply(
        self,
        exchange: Exchange,
        fields: dict[str, Any],
        chat: bool,
        choices: list[dict[str, Any]],
        usage: dict[str, int],
    ) -> None:
        head = {"id": f"cmpl-{exchange.id}", "created": int(time.time()), "model": self.engine.model_name}
        kind = "chat.completion" if chat else "text_completion"
        if not fields.get("stream"):
            await exchange.answer(
                200, json.dumps({**head, "object": kind, "choices": choices, "usage": usage}).encode()
            )
            return
        head["object"] = "chat.completion.chunk" if chat else kind
        await exchange.start(200, *_EVENTS)
        for choice in choices:
            if chat:
                choice = {**choice, "delta": choice["message"]}
                del choice["message"]
            await exchange.write(event({**head, "choices": [choice]}))
        options = fields.get("stream_options")
        if isinstance(options, dict) and options.get("include_usage"):
            await exchange.write(event({**head, "choices": [], "usage": usage}))
        await exchange.write(b"data: [DONE]\n\n", more=False)


def event(content: dict[str, Any]) -> bytes:
    """A server-sent event of JSON."""
    return b"data: " + json.dumps(content).encode() + b"\n\n"


def messages(fields: dict[str, Any]) -> list[dict[str, str]]:
    """A conversation's roles and texts; parts of text are joined. Raises InvalidRequest."""
    given = fields.get("messages")
    if not isinstance(given, list) or not given:
        raise InvalidRequest("messages must be a list of one message or more.")
    found = []
    for one in given:
        if not isinstance(one, dict) or not isinstance(one.get("role"), str):
            raise InvalidRequest("A message must be an object with a role and a content.")
        content = one.get("content")
        if isinstance(content, list):
            parts = [
                str(p["text"]) for p in content if isinstance(p, dict) and isinstance(p.get("text"), str)
            ]
            if len(parts) != len(content):
                raise InvalidRequest("A message's parts must be text: this model sees nothing else.")
            content = "".join(parts)
        if not isinstance(content, str):
            raise InvalidRequest("A message's content must be text.")
        found.append({"role": one["role"], "content": content})
    return found


def _prompts(fields: dict[str, Any]) -> list[Prompt]:
    given = fields.get("prompt")
    if isinstance(given, str) or (isinstance(given, list) and given and isinstance(given[0], int)):
        given = [given]
    if not isinstance(given, list) or not given:
        raise InvalidRequest("prompt must be a text, a list of texts, or token ids.")
    if len(given) > MAX_PROMPTS:
        raise InvalidRequest(f"There are {len(given)} prompts; at most {MAX_PROMPTS} are taken at once.")
    found: list[Prompt] = []
    for one in given:
        if isinstance(one, str) and one:
            found.append(one)
        elif (ids := _token_ids(one)) is not None and ids:
            found.append(ids)
        else:
            raise InvalidRequest("A prompt must be a text or token ids, and not empty.")
    return found


def _token_ids(given: object) -> list[int] | None:
    if given is None:
        return None
    if not isinstance(given, list) or not all(
        isinstance(i, int) and not isinstance(i, bool) and 0 <= i < 2**31 for i in given
    ):
        raise InvalidRequest("Token ids must be a list of whole numbers from 0 on.")
    return given


def _stops(given: object) -> list[str]:
    found = [given] if isinstance(given, str) else given or []
    if not isinstance(found, list) or not all(isinstance(one, str) and one for one in found):
        raise InvalidRequest("stop must be a text or a list of texts.")
    return found


def _integer(fields: dict[str, Any], name: str, least: int, most: int) -> int | None:
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidRequest(f"{name} must be a whole number from {least} to {most}.")
    return value


def _number(fields: dict[str, Any], name: str, least: float, most: float) -> float | None:
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise InvalidRequest(f"{name} must be a number from {least:g} to {most:g}.")
    return float(value)


def _usage(prompt: int, completion: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
