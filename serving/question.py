"""What may be asked: the one check of a question's text, for HTTP, the command and evaluations."""

from __future__ import annotations

from .errors import InvalidRequest

MAX_QUESTION_CHARS = 4_000


def flaw(text: str) -> str | None:
    """What keeps `text` from being worked with, or None: it is empty, or not Unicode text."""
    if not text.strip():
        return "it is empty"
    if "\x00" in text:
        return "it has a NUL character"
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "it has half a surrogate pair, which is no Unicode text"
    return None


def check_question(text: str) -> None:
    """Raise InvalidRequest, saying why, unless `text` can be asked."""
    if found := flaw(text):
        raise InvalidRequest(f"The question cannot be asked: {found}.")
    if len(text) > MAX_QUESTION_CHARS:
        raise InvalidRequest(
            f"The question has {len(text):,} characters; it may have {MAX_QUESTION_CHARS:,}.", "Shorten it."
        )
