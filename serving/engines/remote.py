"""Asks servers that speak OpenAI's protocol, from plain threads: one event loop in a thread of its own carries the requests.

A request is tried again on another server, or on the same once it is well, for as long as its deadline allows: nothing that these
calls ask for has an effect, so asking twice does no harm.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import aiohttp

from .. import tracing
from ..errors import EngineError, EngineUnavailable, Gone, PromptTooLong, ServingError
from . import cancel
from .calling import CALL_HEADER, new_call, used
from .replicas import TRY_AGAIN, Attempts, Replica, Replicas, new_session

log = logging.getLogger(__name__)
T = TypeVar("T")
_TOO_LONG = ("context length", "maximum model length", "max_model_len", "longer than", "too long")


class Remote:
    """The servers, and the thread that talks to them. Close it at the end."""

    def __init__(
        self, replicas: Replicas, *, api_key: str | None = None, deadline_s: float = 120.0, watch: bool = True
    ) -> None:
        self.replicas = replicas
        self.deadline_s = deadline_s
        self.note: Callable[[str, int], None] | None = None
        """Told of every call that was answered: its name, and the tokens that it took."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="suresql-remote", daemon=True)
        self._thread.start()
        self._session = self.call(self._open(api_key, watch))

    def post(self, path: str, bodies: Sequence[dict[str, Any]], prompts: Sequence[Any]) -> list[Any]:
        """The answers to several requests, sent together. Raises PromptTooLong, EngineError, EngineUnavailable or Gone."""

        async def together() -> list[Any]:
            tasks = [
                asyncio.ensure_future(self._post(path, body, prompt))
                for body, prompt in zip(bodies, prompts, strict=True)
            ]
            try:
                return list(await asyncio.gather(*tasks))
            finally:
                for task in tasks:
                    task.cancel()

        return self.call(together())

    def get(self, path: str) -> Any:
        """The answer of the first server that gives one."""

        async def ask() -> Any:
            return await self._try(path, lambda replica, _: self._session.get(replica.url + path), "")

        return self.call(ask())

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run on the loop and wait; stops the work, and raises Gone, when the thread's caller has gone."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        flag = cancel.current()
        forget = flag.then(future.cancel) if flag else _nothing
        try:
            return future.result()
        except BaseException as error:
            if flag is not None and flag.is_set():
                raise Gone("Nobody waits for this answer any more.") from None
            future.cancel()
            raise error
        finally:
            forget()

    def close(self) -> None:
        """End the connections and the thread."""

        async def end() -> None:
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch
            await self._session.close()

        if self._loop.is_running():
            self.call(end())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5)

    async def _open(self, api_key: str | None, watch: bool) -> aiohttp.ClientSession:
        session = new_session(api_key)
        self._watch = asyncio.ensure_future(self.replicas.watch(session) if watch else asyncio.sleep(0))
        return session

    async def _post(self, path: str, body: dict[str, Any], prompt: Any) -> Any:
        data = json.dumps(body).encode()
        kind = {"content-type": "application/json", **tracing.headers()}
        start = prompt if isinstance(prompt, str) else json.dumps(prompt)
        return await self._try(
            path,
            lambda replica, call: self._session.post(
                replica.url + path, data=data, headers={**kind, CALL_HEADER: call}
            ),
            start,
        )

    async def _try(self, path: str, send: Callable[[Replica, str], Any], start: str) -> Any:
        attempts = Attempts(self.replicas, start, self.deadline_s)
        while (replica := await attempts.next()) is not None:
            call = new_call()
            try:
                with self.replicas.using(replica):
                    async with asyncio.timeout(attempts.left_s), send(replica, call) as response:
                        content = await response.read()
            except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
                attempts.failed(replica, f"broke off ({type(error).__name__})", down=attempts.left_s > 0)
                continue
            if response.status == 200:
                replica.answered += 1
                if self.note is not None and (tokens := used(content)) is not None:
                    self.note(call, tokens)
                return json.loads(content)
            if response.status not in TRY_AGAIN:
                raise _error(response.status, content)
            attempts.failed(replica, f"answered {response.status}")
        raise EngineUnavailable(
            f"No engine answered {path}: {attempts.why}.", "Try again shortly; /readyz says when.", 5
        )


def _nothing() -> None:
    return


def _error(status: int, content: bytes) -> ServingError:
    try:
        body = json.loads(content)
        found = body.get("error", body)
        message = str(found.get("message", found) if isinstance(found, dict) else found)[:500]
    except (ValueError, AttributeError):
        message = content[:200].decode("utf-8", "replace")
    if status == 413 or (status in (400, 422) and any(sign in message for sign in _TOO_LONG)):
        return PromptTooLong(
            f"The question and its schema do not fit the model's context: {message}",
            "Ask more briefly, or of a smaller database.",
        )
    return EngineError(f"The engine refused the request ({status}): {message}", "See the engine's log.")
