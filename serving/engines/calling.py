"""What a call to an engine is known by on both sides, and what its answer says that it took."""

from __future__ import annotations

import os
import re

CALL_HEADER = "x-suresql-call"
"""Names a call to the engine, whatever its request is called: 64 random bits in hexadecimal, new for every try."""
TAIL_BYTES = 2_048
"""Of an answer: usage stands at its end."""
_NAME = re.compile(r"[0-9a-f]{16}")
_USAGE = re.compile(rb'"(prompt|completion)_tokens"\s*:\s*(\d+)')


def new_call() -> str:
    """A name that no other call has."""
    return os.urandom(8).hex()


def call_named(given: bytes | None) -> str:
    """The name in a header's value, or a new one where it is none."""
    text = "" if given is None else given.decode("latin-1")
    return text if _NAME.fullmatch(text) else new_call()


def used(content: bytes) -> int | None:
    """Tokens of prompt and completion, from an answer's end; None if it does not say."""
    found = dict(_USAGE.findall(content[-TAIL_BYTES:]) or _USAGE.findall(content))
    return sum(int(value) for value in found.values()) if found else None
