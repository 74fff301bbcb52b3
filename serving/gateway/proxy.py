"""Passes OpenAI requests on to the engines: nothing is parsed that need not be, and what had not begun is tried again."""

from __future__ import annotations

import asyncio
import json
import re
import time
from dataclasses import dataclass
from typing import Any

import aiohttp

from .. import tracing
from ..engines.calling import CALL_HEADER, TAIL_BYTES, used
from ..engines.replicas import TRY_AGAIN, Attempts, Replica, Replicas, new_session
from ..errors import EngineFailed, EngineUnavailable
from .calls import BROKE_OFF, Call, Calls
from .exchange import Exchange
from .fair import aged

_JSON = (b"content-type", b"application/json")
_EVENTS = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"))
_NO_CHOICES = re.compile(rb'"choices"\s*:\s*\[\s*\]')


@dataclass(frozen=True)
class _Request:
    path: str
    data: bytes
    stripping: bool
    """Whether the usage at a stream's end was not asked for, and is taken out."""


class Proxy:
    """The engines' servers, from the gateway's event loop."""

    def __init__(
        self,
        replicas: Replicas,
        calls: Calls,
        *,
        api_key: str | None,
        deadline_s: float,
        prioritised: bool = False,
    ) -> None:
        """`prioritised`: the servers know vLLM's `priority` and are run with it."""
        self.replicas = replicas
        self._calls = calls
        self._session = new_session(api_key)
        self._deadline_s = deadline_s
        self._prioritised = prioritised

    async def complete(
        self, exchange: Exchange, path: str, fields: dict[str, Any], tokens: int, expected_s: float
    ) -> None:
        """Answer the exchange with what an engine says; what is charged for each call is the exchange's to keep.

        Raises EngineUnavailable as long as nothing was sent.
        """
        stripping = False
        if fields.get("stream"):
            options = fields.get("stream_options")
            stripping = not (isinstance(options, dict) and options.get("include_usage"))
            if stripping:
                more = {"include_usage": True}
                fields = {
                    **fields,
                    "stream_options": {**options, **more} if isinstance(options, dict) else more,
                }
        if self._prioritised:
            (rank,) = aged(time.time(), expected_s)  # the engine's queue is in the order of ours
            fields = {**fields, "priority": int(rank * 1000)}
        request = _Request(path, json.dumps(fields).encode(), stripping)
        attempts = Attempts(self.replicas, start_of(fields), self._deadline_s)
        while (replica := await attempts.next()) is not None:
            with self._calls.made(exchange, tokens) as call, self.replicas.using(replica):
                if await self._try(exchange, attempts, replica, request, call):
                    return
        raise EngineUnavailable(
            f"No engine answered: {attempts.why}.", "Try again shortly; /readyz says when.", 5
        )

    async def _try(
        self, exchange: Exchange, attempts: Attempts, replica: Replica, request: _Request, call: Call
    ) -> bool:
        """One call; false where another may still do better, as nothing was sent."""
        try:
            with tracing.stage("engine", server__address=replica.address):
                headers = {
                    "content-type": "application/json", "x-request-id": exchange.id, CALL_HEADER: call.name,
                    **tracing.headers(),
                }  # fmt: skip
                async with (
                    asyncio.timeout(attempts.left_s),
                    self._session.post(
                        replica.url + request.path, data=request.data, headers=headers
                    ) as response,
                ):
                    if response.content_type == "text/event-stream" and response.status == 200:
                        replica.answered += 1
                        await self._stream(exchange, response, request.stripping, call)
                        return True
                    content = await response.read()
        except (aiohttp.ClientError, OSError) as error:
            if exchange.status:  # it had begun
                why = f"The engine broke off ({type(error).__name__})."
                call.why = BROKE_OFF
                await exchange.break_off(EngineUnavailable(why, "Ask again: what came so far is not whole."))
                return True
            call.took(0, BROKE_OFF)
            attempts.failed(replica, f"broke off ({type(error).__name__})", down=attempts.left_s > 0)
            return False
        call.took(0 if response.status != 200 else used(content))
        if response.status in TRY_AGAIN and not attempts.last:
            attempts.failed(replica, f"answered {response.status}")
            if response.status != 429 or len(self.replicas.all) > 1:
                return False
        if response.status >= 500 and response.status not in (503, 504):
            raise EngineFailed(f"The engine answered {response.status}.", "See its log, or try again.")
        replica.answered += 1
        wait = response.headers.get("retry-after")
        await exchange.answer(
            response.status, content, *([(b"retry-after", wait.encode("latin-1"))] if wait else [])
        )
        return True

    async def close(self) -> None:
        await self._session.close()

    async def _stream(
        self, exchange: Exchange, response: aiohttp.ClientResponse, stripping: bool, call: Call
    ) -> None:
        read = response.content.readany
        part = await read()  # what fails up to here is tried elsewhere
        await exchange.start(200, *_EVENTS)
        carry = b""
        while part:
            if stripping:  # whole events alone, lest half of one that is to be left out be sent
                part = carry + part
                end = part.rfind(b"\n\n") + 2
                carry, part = (part[end:], part[:end]) if end > 1 else (part, b"")
            if b'"prompt_tokens"' in part:
                call.took(used(part[-TAIL_BYTES:]))
                if stripping:
                    part = _without_usage(part)
            if part:
                await exchange.write(part)
            part = await read()
        await exchange.write(carry, more=False)


def _without_usage(part: bytes) -> bytes:
    events = part.split(b"\n\n")
    return b"\n\n".join(event for event in events if not (b'"usage"' in event and _NO_CHOICES.search(event)))


def start_of(fields: dict[str, Any]) -> str:
    """What requests that share a prefix have in common."""
    prompt = fields.get("prompt")
    if prompt is None:
        messages = fields.get("messages")
        prompt = messages[0] if isinstance(messages, list) and messages else ""
    if isinstance(prompt, list):
        prompt = prompt[:1_024]
    return prompt if isinstance(prompt, str) else json.dumps(prompt)[:4_096]
