"""Rules of wording in `wordings.txt`, expanded at random: alternatives, options, other rules, slots."""

import random
import re
from functools import lru_cache
from pathlib import Path

_CHOICE = re.compile(r"\(([^()\[\]]*)\)|\[([^()\[\]]*)\]")
_RULE = re.compile(r"\$(\w+)")
_SLOT = re.compile(r"\{(\w+)(?:/\w+)?\}")


@lru_cache(maxsize=1)
def rules() -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in (Path(__file__).parent / "wordings.txt").read_text(encoding="utf-8").splitlines():
        heading = re.fullmatch(r"\[([\w <>=!]+)\]", line)
        if heading:
            lines = found.setdefault(heading[1], [])
        elif line.strip() and not line.startswith("#"):
            lines.append(line)
    return {name: tuple(lines) for name, lines in found.items()}


def say(rng: random.Random, rule: str, **slots: str) -> str:
    """One wording of a rule, its slots filled. KeyError for a rule or slot that is not there."""
    return fill(expand(rng, rule), slots)


def expand(rng: random.Random, rule: str) -> str:
    """One wording of a rule, its slots yet to fill."""
    text = rng.choice(rules()[rule])
    while match := _RULE.search(text):
        text = text[: match.start()] + rng.choice(rules()[match[1]]) + text[match.end() :]
    return choose(rng, text)


def choose(rng: random.Random, text: str) -> str:
    """`text` with one of each `(a|b)`, and with or without each `[option]`."""
    while match := _CHOICE.search(text):
        if match[1] is not None:
            chosen = rng.choice(match[1].split("|"))
        else:
            chosen = rng.choice(match[2].split("|")) if rng.random() < 0.5 else ""
        text = text[: match.start()] + chosen + text[match.end() :]
    return text


def fill(text: str, slots: dict[str, str]) -> str:
    return _SLOT.sub(lambda m: slots[m[1]], text)


def finish(text: str) -> str:
    """Spacing, a or an, small slips of assembly; no capitals or full stops yet."""
    text = " ".join(text.split())
    text = re.sub(r"\ba~ (?=(?!uni|user|use |one|euro)[aeiou])", "an ", text)
    text = text.replace("a~ ", "a ")
    text = re.sub(r"\s+([,.?:;])", r"\1", text)
    return re.sub(r"\b(the|of|and|all|with|for|in|by) \1\b", r"\1", text)
