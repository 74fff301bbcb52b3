"""Tool calls as Kimi K2 writes them, in OpenAI's shape: read from a whole answer, or from a stream as it comes.

    <|tool_calls_section_begin|><|tool_call_begin|>functions.NAME:0<|tool_call_argument_begin|>{...}<|tool_call_end|><|tool_calls_section_end|>

The text before a section is content; what stands between calls is nothing; the header is the call's identifier, which the model
wants to see again with the tool's result. Whoever is to read the calls, every answer of an engine elsewhere to a conversation
with tools goes through here: one whose text has none of these tokens keeps its content and the calls that its engine read, but a
stream's events are written anew.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Literal

from ..errors import BadTools

SECTION, SECTION_END = "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"
CALL, ARGUMENT, CALL_END = "<|tool_call_begin|>", "<|tool_call_argument_begin|>", "<|tool_call_end|>"
_HEADER = re.compile(r"(?:functions\.)?(?P<name>.+):\d+", re.DOTALL)
_ENDS: dict[str, tuple[str, ...]] = {
    "content": (SECTION,),
    "between": (CALL, SECTION_END),
    "header": (ARGUMENT, SECTION_END),
    "argument": (CALL_END, SECTION_END),
}
Delta = dict[str, Any]


def asked_of_engine(fields: dict[str, Any], reader: Literal["engine", "kimi"]) -> dict[str, Any]:
    """The request as the engine has to get it: where the gateway alone reads the calls, the engine is to write them as text.

    Raises BadTools for a call that only the engine could force.
    """
    if reader == "engine":
        return fields
    if fields.get("tool_choice") not in (None, "auto", "none"):
        raise BadTools(
            f"tool_choice is {json.dumps(fields['tool_choice'])[:100]}; this engine's model chooses itself.",
            'Send "auto" or "none".',
        )
    return {**fields, "tool_choice": "none", "skip_special_tokens": False}


class CallReader:
    """Reads one choice's text, piece by piece."""

    def __init__(self) -> None:
        self.calls = 0
        self._state = "content"
        self._text = ""

    def feed(self, text: str, last: bool = False) -> Iterator[Delta]:
        """What the text adds: deltas of OpenAI's stream, content or tool_calls. `last` gives what was held back, too."""
        self._text += text
        while True:
            marks = [mark for mark in _ENDS[self._state] if mark in self._text]
            if not marks:
                break
            at, mark = min((self._text.index(mark), mark) for mark in marks)
            before, self._text = self._text[:at], self._text[at + len(mark) :]
            yield from self._add(before)
            if self._state == "header" and mark == ARGUMENT:
                yield self._open(before)
            elif self._state == "header" and before:
                yield {"content": CALL + before}  # a header without arguments is no call
            self._state = {
                SECTION: "between", CALL: "header", ARGUMENT: "argument", CALL_END: "between", SECTION_END: "content",
            }[mark]  # fmt: skip
        if last:
            if self._state == "header" and self._text:
                yield {"content": CALL + self._text}
            yield from self._add(self._text)
            self._text = ""
            return
        held = _held(self._text, _ENDS[self._state])
        if self._state in ("content", "argument") and len(self._text) > held:
            ready, self._text = self._text[: len(self._text) - held], self._text[len(self._text) - held :]
            yield from self._add(ready)

    def _add(self, text: str) -> Iterator[Delta]:
        if self._state == "content" and text:
            yield {"content": text}
        elif self._state == "argument" and text:
            yield {"tool_calls": [{"index": self.calls - 1, "function": {"arguments": text}}]}

    def _open(self, header: str) -> Delta:
        header = header.strip()
        match = _HEADER.fullmatch(header)
        name = match["name"] if match else header
        number, self.calls = self.calls, self.calls + 1
        function = {"name": name, "arguments": ""}
        return {"tool_calls": [{"index": number, "id": header, "type": "function", "function": function}]}


class CallsInAnswers:
    """Rewrites an engine's answers to a conversation with tools."""

    def __init__(self) -> None:
        self._readers: dict[int, CallReader] = defaultdict(CallReader)
        self._carry = b""

    def whole(self, content: bytes) -> bytes:
        """An answer in one piece."""
        if b"tool_calls_section_begin" not in content:
            return content
        try:
            answer = json.loads(content)
            for choice in answer["choices"]:
                _rewrite(choice)
        except (ValueError, KeyError, TypeError, AttributeError):
            return content  # not an answer that has calls
        return json.dumps(answer).encode()

    def part(self, part: bytes, more: bool) -> bytes:
        """What of a stream may be sent after this part of it has come."""
        *events, self._carry = (self._carry + part).split(b"\n\n")
        if not more and self._carry:
            events.append(self._carry)
            self._carry = b""
        return b"".join(self._event(event) for event in events)

    def _event(self, event: bytes) -> bytes:
        whole = event + b"\n\n"
        if not event.startswith(b"data:") or event[5:].strip() == b"[DONE]":
            return whole
        try:
            chunk = json.loads(event[5:])
            choices = chunk.get("choices") or []
            if not choices:
                return whole
            sent = [one for choice in choices for one in self._choice(choice)]
        except (ValueError, KeyError, TypeError, AttributeError):
            return whole
        return b"".join(
            b"data: " + json.dumps({**chunk, "choices": [one]}).encode() + b"\n\n" for one in sent
        )

    def _choice(self, choice: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """A choice's chunk, as the chunks that it makes."""
        reader = self._readers[choice.get("index", 0)]
        delta = dict(choice.get("delta") or {})
        reason = choice.get("finish_reason")
        text = delta.pop("content", None)
        deltas = list(reader.feed(text or "", last=reason is not None))
        rest = {name: value for name, value in delta.items() if value is not None}
        if rest or reason is not None:
            deltas = deltas or [{}]
            deltas[0] = {**rest, **deltas[0]}
        if not deltas:
            return
        quiet = {**choice, "finish_reason": None}
        for one in deltas[:-1]:
            yield {**quiet, "delta": one}
        if reason == "stop" and reader.calls:
            reason = "tool_calls"
        yield {**choice, "delta": deltas[-1], "finish_reason": reason}


def _rewrite(choice: dict[str, Any]) -> None:
    message = choice["message"]
    text = message.get("content")
    if not isinstance(text, str) or SECTION not in text or message.get("tool_calls"):
        return
    content = ""
    calls: list[dict[str, Any]] = []
    for delta in CallReader().feed(text, last=True):
        content += delta.get("content", "")
        for one in delta.get("tool_calls", ()):
            if "id" in one:
                calls.append({"id": one["id"], "type": "function", "function": dict(one["function"])})
            else:
                calls[one["index"]]["function"]["arguments"] += one["function"]["arguments"]
    message["content"] = content.strip() or None
    if calls:
        message["tool_calls"] = calls
        if choice.get("finish_reason") == "stop":
            choice["finish_reason"] = "tool_calls"


def _held(text: str, marks: tuple[str, ...]) -> int:
    """How much of the text's end may be the beginning of a mark."""
    return max(
        (size for mark in marks for size in range(1, len(mark)) if text.endswith(mark[:size])), default=0
    )
