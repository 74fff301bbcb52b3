"""Passes OpenAI requests on to the engines: nothing is parsed that need not be, and what had not begun is tried again."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import aiohttp

from .. import tracing
from ..engines.replicas import TRY_AGAIN, Attempts, Replicas, new_session
from ..errors import EngineUnavailable
from .exchange import Exchange, error_body

_JSON = (b"content-type", b"application/json")
_EVENTS = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"))
_USAGE = re.compile(rb'"(prompt|completion)_tokens"\s*:\s*(\d+)')
_NO_CHOICES = re.compile(rb'"choices"\s*:\s*\[\s*\]')
TAIL_BYTES = 2_048
"""Of an answer: usage stands at its end."""


class Proxy:
    """The engines' servers, from the gateway's event loop."""

    def __init__(
        self, replicas: Replicas, *, api_key: str | None, deadline_s: float, prioritised: bool = False
    ) -> None:
        """`prioritised`: the servers know vLLM's `priority` and are run with it."""
        self.replicas = replicas
        self._session = new_session(api_key)
        self._deadline_s = deadline_s
        self._prioritised = prioritised

    async def complete(
        self, exchange: Exchange, path: str, fields: dict[str, Any], tokens: int
    ) -> int | None:
        """Answer the exchange with what an engine says; returns the tokens that it took, None where it did not say.

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
            fields = {**fields, "priority": tokens.bit_length()}  # the smaller goes first
        data = json.dumps(fields).encode()
        attempts = Attempts(self.replicas, _start_of(fields), self._deadline_s)
        while (replica := await attempts.next()) is not None:
            try:
                with (
                    self.replicas.using(replica),
                    tracing.stage("engine", server__address=replica.address),
                ):
                    headers = {
                        "content-type": "application/json", "x-request-id": exchange.id, **tracing.headers(),
                    }  # fmt: skip
                    async with (
                        asyncio.timeout(attempts.left_s),
                        self._session.post(replica.url + path, data=data, headers=headers) as response,
                    ):
                        if response.content_type == "text/event-stream" and response.status == 200:
                            replica.answered += 1
                            return await self._stream(exchange, response, stripping)
                        content = await response.read()
            except (aiohttp.ClientError, OSError) as error:
                if exchange.status:  # it had begun: the client has been told
                    return None
                attempts.failed(replica, f"broke off ({type(error).__name__})", down=attempts.left_s > 0)
                continue
            if response.status in TRY_AGAIN and not attempts.last:
                attempts.failed(replica, f"answered {response.status}")
                if response.status != 429 or len(self.replicas.all) > 1:
                    continue
            replica.answered += 1
            wait = response.headers.get("retry-after")
            await exchange.answer(
                response.status, content, *([(b"retry-after", wait.encode("latin-1"))] if wait else [])
            )
            return used(content)
        raise EngineUnavailable(
            f"No engine answered: {attempts.why}.", "Try again shortly; /readyz says when.", 5
        )

    async def close(self) -> None:
        await self._session.close()

    async def _stream(
        self, exchange: Exchange, response: aiohttp.ClientResponse, stripping: bool
    ) -> int | None:
        read = response.content.readany
        part = await read()  # what fails up to here is tried elsewhere
        await exchange.start(200, *_EVENTS)
        tail = carry = b""
        try:
            while part:
                if stripping:  # whole events alone, lest half of one that is to be left out be sent
                    part = carry + part
                    end = part.rfind(b"\n\n") + 2
                    carry, part = (part[end:], part[:end]) if end > 1 else (part, b"")
                    if b'"prompt_tokens"' in part:
                        tail = part[-TAIL_BYTES:]
                        part = _without_usage(part)
                elif b'"prompt_tokens"' in part:
                    tail = part[-TAIL_BYTES:]
                if part:
                    await exchange.write(part)
                part = await read()
        except (aiohttp.ClientError, OSError) as error:
            broken = EngineUnavailable(
                f"The engine broke off ({type(error).__name__}).", "Ask again: what came so far is not whole."
            )
            await exchange.write(b"data: " + error_body(broken) + b"\n\n", more=False)
            raise
        await exchange.write(carry, more=False)
        return used(tail)


def used(content: bytes) -> int | None:
    """Tokens of prompt and completion, from an answer's end; None if it does not say."""
    found = dict(_USAGE.findall(content[-TAIL_BYTES:]) or _USAGE.findall(content))
    return sum(int(value) for value in found.values()) if found else None


def _without_usage(part: bytes) -> bytes:
    events = part.split(b"\n\n")
    return b"\n\n".join(event for event in events if not (b'"usage"' in event and _NO_CHOICES.search(event)))


def _start_of(fields: dict[str, Any]) -> str:
    """What requests that share a prefix have in common."""
    prompt = fields.get("prompt")
    if prompt is None:
        messages = fields.get("messages")
        prompt = messages[0] if isinstance(messages, list) and messages else ""
    return prompt if isinstance(prompt, str) else json.dumps(prompt)[:4_096]
