"""How requests to a gateway ended: in an answer, in an honest error, late, or in neither."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import aiohttp

HONEST = frozenset({429, 502, 503, 504})
MOST_EXAMPLES = 10


@dataclass
class Outcomes:
    """Counts of what was asked and how it ended."""

    deadline_s: float
    requests: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    honest: Counter[str] = field(default_factory=Counter)
    incomplete: int = 0
    """Answers that say that part of them could not be had, as the rows."""
    past_deadline: int = 0
    neither: int = 0
    examples: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    tokens: int = 0
    """That answers say they took."""

    async def ask(
        self, session: aiohttp.ClientSession, kind: str, url: str, key: str, body: dict[str, Any]
    ) -> bool:
        """Post it and judge how it ends; whether in an answer."""
        self.requests[kind] += 1
        started = time.perf_counter()
        try:
            # Long past the deadline, so that one that would never end is seen as late and does not hang the run.
            async with (
                asyncio.timeout(3 * self.deadline_s),
                session.post(url, json=body, headers={"authorization": f"Bearer {key}"}) as response,
            ):
                content = await response.read()
                told = _told(response, content)
        except (aiohttp.ClientError, OSError) as error:
            told = f"no answer: {type(error).__name__}: {error}"
        took = time.perf_counter() - started
        self.slowest_s = max(self.slowest_s, took)
        if took > self.deadline_s:
            self.past_deadline += 1
            self._example(f"{kind}, {took:.1f} s: {told or 'an answer'}")
        if told is None:
            self.answers[kind] += 1
            self.tokens += _tokens(content)
            self.incomplete += _is_incomplete(content)
            return True
        if told.startswith("honest: "):
            self.honest[told.removeprefix("honest: ")] += 1
        else:
            self.neither += 1
            self._example(f"{kind}: {told}")
        return False

    def figures(self) -> dict[str, Any]:
        return {
            "requests": self.requests.total(),
            "requests_by_kind": dict(self.requests),
            "answers": self.answers.total(),
            "answers_that_name_an_error": self.incomplete,
            "honest_errors": self.honest.total(),
            "honest_errors_by_kind": dict(self.honest),
            "neither": self.neither,
            "past_deadline": self.past_deadline,
            "deadline_s": self.deadline_s,
            "slowest_s": round(self.slowest_s, 2),
            "examples": self.examples,
        }

    def _example(self, text: str) -> None:
        if len(self.examples) < MOST_EXAMPLES:
            self.examples.append(text[:400])


def _told(response: aiohttp.ClientResponse, content: bytes) -> str | None:
    """None for an answer, "honest: ..." for an honest error, else what it is."""
    if response.status == 200 and response.content_type == "text/event-stream":
        if content.rstrip().endswith(b"data: [DONE]"):
            return None
        head, _, last = content.rstrip().rpartition(b"data: ")
        if head.endswith(b"event: answer\n") and _is_object(last):
            return None
        return _error(0, last) or f"a stream that ends with {last[-200:]!r}"
    if response.status == 200:
        return None if _is_object(content) else f"200 with {content[:200]!r}"
    if response.status in HONEST and (found := _error(response.status, content)):
        return found
    return f"{response.status}: {content[:300]!r}"


def _error(status: int, content: bytes) -> str | None:
    """ "honest: ..." for an error in our shape: what happened, and what to do."""
    try:
        error = json.loads(content)["error"]
        if error["message"] and error["type"] and "hint" in error:
            return f"honest: {status or 'in a stream'} {error['type']}"
    except (ValueError, KeyError, TypeError):
        pass
    return None


def _is_object(content: bytes) -> bool:
    try:
        return isinstance(json.loads(content), dict)
    except ValueError:
        return False


def _is_incomplete(content: bytes) -> bool:
    try:
        return bool(json.loads(content).get("error"))
    except (ValueError, AttributeError):
        return False


def _tokens(content: bytes) -> int:
    try:
        usage = json.loads(content).get("usage") or {}
    except (ValueError, AttributeError):
        return 0
    return int(usage.get("prompt_tokens", 0)) + int(usage.get("completion_tokens", 0))
