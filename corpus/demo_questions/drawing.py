"""Draw questions: an intent, a facet, a wording, values that the database answers, and slips of typing."""

import random
import re
import sqlite3
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from corpus.demo_questions.grammar import SPLITS, Grammar, Intent, Split, plain
from corpus.demo_questions.values import Value, Values
from corpus.errors import CorpusError
from corpus.spider import Example

_SLOT = re.compile(r"\{(\w+)\}")
_TRIES = 40  # values drawn for one wording before another intent is taken
_LOWER_CASE: dict[Split, float] = {"train": 0.25, "calibration": 0.15, "test": 0.15}
_TYPO: dict[Split, float] = {"train": 0.06, "calibration": 0.02, "test": 0.02}


@dataclass(frozen=True)
class Draw:
    """An example and where it came from."""

    example: Example
    intent: str
    facet: str | None
    wording: str  # the question with its slots open, before slips
    phrase: str  # the wording less the frame around it
    literals: frozenset[str]  # SQL text of the values that belong to one split


def demo_questions(n: int, seed: int, split: Split, database_path: str | Path) -> list[Example]:
    """`n` different questions with SQL on the demo database, the same for the same arguments.

    Wordings and values of a split occur in no other (see `values` for the few shared ones).
    """
    return [draw.example for draw in draw_questions(n, seed, split, database_path)]


def draw_questions(n: int, seed: int, split: Split, database_path: str | Path) -> list[Draw]:
    """As `demo_questions`, with each example's origin. Intents take turns, so none is rare."""
    if split not in SPLITS:
        raise CorpusError(f"split {split!r} is unknown; take one of {', '.join(SPLITS)}.")
    grammar = Grammar.load()
    answers = _answers(str(Path(database_path).resolve()))
    values = answers.values(split)
    rng = random.Random(f"demo questions {seed} {split}")
    draws: list[Draw] = []
    seen: set[str] = set()
    idle = 0
    while len(draws) < n:
        idle += 1
        if idle > 20:
            raise CorpusError(
                f"only {len(draws)} different questions found for split {split}, {n} were asked for."
            )
        for intent in rng.sample(grammar.intents, len(grammar.intents)):
            number = f"demo-{split}-{seed}-{len(draws):05d}-{intent.name}"
            draw = _draw(grammar, intent, split, values, answers, rng, number)
            if draw is not None and draw.example.question not in seen and len(draws) < n:
                seen.add(draw.example.question)
                draws.append(draw)
                idle = 0
    return draws


def _draw(
    grammar: Grammar,
    intent: Intent,
    split: Split,
    values: Values,
    answers: "_Answers",
    rng: random.Random,
    number: str,
) -> Draw | None:
    facet = rng.choice(intent.facets_for(split))
    frames, phrase = grammar.frames_of(intent, rng.choice(intent.wordings[split]), split)
    frame = rng.choice(frames)
    phrase = grammar.expand(phrase, split, facet, rng.choice)
    if split == "train" and plain(phrase) in grammar.held_back:
        return None
    wording = grammar.expand(frame.replace("{np}", phrase), split, facet, rng.choice)
    template = grammar.expand(intent.sql, split, facet, rng.choice)
    slots = _SLOT.findall(template)
    for _ in range(_TRIES):
        chosen = values.sample(slots, rng)
        if chosen is None:
            return None
        sql = _fill(template, {slot: value.sql for slot, value in chosen.items()})
        if answers.has_rows(sql):
            question = _typed(wording, chosen, split, rng)
            literals = frozenset(value.sql for value in chosen.values() if not value.shared)
            example = Example(number, question, sql, "demo")
            return Draw(example, intent.name, facet.name if facet else None, wording, phrase, literals)
    return None


def _typed(wording: str, chosen: dict[str, Value], split: Split, rng: random.Random) -> str:
    """The wording as somebody might type it, values filled in; a slip never touches a value."""
    if rng.random() < _TYPO[split]:
        wording = _slip(wording, rng)
    texts = {slot: rng.choice(value.texts) for slot, value in chosen.items()}
    if rng.random() < _LOWER_CASE[split]:
        wording = wording.lower().rstrip("?.")
        if rng.random() < 0.5:
            texts = {slot: text.lower() for slot, text in texts.items()}
    elif rng.random() < 0.75 and wording[0].isalpha():
        wording = wording[0].upper() + wording[1:]
    return _fill(wording, texts)


def _fill(template: str, texts: dict[str, str]) -> str:
    return _SLOT.sub(lambda match: texts[match[1]], template)


def _slip(wording: str, rng: random.Random) -> str:
    """One word of five letters or more with two letters swapped, one dropped or one doubled."""
    words = wording.split(" ")
    long = [at for at, word in enumerate(words) if len(word) >= 5 and word.isalpha()]
    if not long:
        return wording
    at = rng.choice(long)
    word = words[at]
    cut = rng.randrange(1, len(word) - 2)
    words[at] = rng.choice(
        (
            word[:cut] + word[cut + 1] + word[cut] + word[cut + 2 :],
            word[:cut] + word[cut + 1 :],
            word[:cut] + word[cut] + word[cut:],
        )
    )
    return " ".join(words)


class _Answers:
    """The database in memory, and which queries it answers with something."""

    def __init__(self, path: str):
        if not Path(path).is_file():
            raise CorpusError(f"{path}: no such file; build it with corpus.demo.build_demo_database.")
        self._connection = sqlite3.connect(":memory:")
        source = sqlite3.connect(f"{Path(path).as_uri()}?mode=ro", uri=True)
        try:
            source.backup(self._connection)
        except sqlite3.DatabaseError as error:
            raise CorpusError(f"{path}: not the demo database ({error}); build it again.") from error
        finally:
            source.close()
        self.has_rows = lru_cache(maxsize=200_000)(self._has_rows)
        self.values = lru_cache(maxsize=None)(lambda split: Values(self._connection, split))

    def _has_rows(self, sql: str) -> bool:
        """Whether the query gives more than nothing, a lone null or a lone zero."""
        row = self._connection.execute(sql).fetchone()
        return row is not None and any(cell not in (None, 0) for cell in row)


@lru_cache(maxsize=4)
def _answers(path: str) -> _Answers:
    return _Answers(path)
