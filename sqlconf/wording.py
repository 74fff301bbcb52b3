"""What a question says, as far as rules can tell: its numbers, its names, what it asks to see, the stems of its words."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import snowballstemmer

from sqlconf.naming import humanise, singular

Phrase = tuple[str, ...]

LONGEST = 2_000
"""Characters of a question that are read."""

MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip

_TOKEN = re.compile(
    r"\d+[-/]\d+[-/]\d+|\d{4}-\d\d(?!\d)|\d+(?:,\d{3})*(?:\.\d+)?(?![^\W_])|[^\W_]+(?:['’][^\W\d_]+)?|%"
)
_NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
_QUOTED = re.compile(r"(?<!\w)(['\"‘“`])(.+?)['\"’”`](?!\w)")
_SENTENCE = re.compile(r"(?<=[.?!:])\s+")
_NUMBER_WORDS = {
    "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11,
    "twelve": 12, "fifteen": 15, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "hundred": 100,
    "twice": 2, "thrice": 3,
}  # fmt: skip
_SCALES = {"thousand": 1e3, "k": 1e3, "million": 1e6, "m": 1e6, "billion": 1e9}

_COMMAND = (
    r"list|show|give|return|find|display|tell|fetch|get|name(?= the)|provide|report|see|look at|select|i am after|"
    r"work out|could you|would you|can you"
)
_OPENER = re.compile(
    rf"\b(?:(?P<command>{_COMMAND})|what(?:['’]s| is| are| was| were| has| have)?|which|whom?)\b"
)
_FILLER = re.compile(
    r"\W*(?:(?:out|me|us|all|the|of|a|an|any|please|find|list|show|give|tell|see|get|display|fetch|both|different|"
    r"distinct|unique|every|each|their|its|your|our|corresponding|possible|complete|for)\s+)*"
)
_END = re.compile(
    r"\b(?:of|for|from|in|that|which|who|whose|with|where|having|have|has|had|when|on|at|by|sorted|ordered|order|is|"
    r"are|was|were|do|does|did|can|during|using|used|if|than|per|each|every|as|to|there|not|without|"
    r"over|across|among|between|within|via|through|below|above|under|beyond|after|before|since|out|namely|including|those|somewhere)\b|[?.;:(]"
)
_PARTS = re.compile(r",(?!\d)\s*(?:and\b|plus\b|or\b)?\s*|\s+(?:and|plus|&)\s+")
_LANDS = {
    "american": ("usa", "us", "united", "america"), "british": ("uk", "gb", "britain", "united", "england"),
    "danish": ("denmark",), "dutch": ("netherlands", "holland"), "english": ("england",), "finnish": ("finland",),
    "french": ("france",), "greek": ("greece",), "irish": ("ireland",), "polish": ("poland",), "scottish": ("scotland",),
    "spanish": ("spain",), "swiss": ("switzerland",), "welsh": ("wales",),
}  # fmt: skip
"""Peoples whose country begins otherwise."""
_STEMMER = snowballstemmer.stemmer("english")


@lru_cache(maxsize=20_000)
def stem(word: str) -> str:
    return _STEMMER.stemWord(word)


@lru_cache(maxsize=20_000)
def stems(name: str) -> tuple[str, ...]:
    """A name of the schema, or several words, as stems."""
    return tuple(stem(word) for word in humanise(name).split())


@lru_cache(maxsize=20_000)
def phrase(name: str) -> Phrase:
    """A name of the schema as words in the singular, as `Wording.runs` has them."""
    return tuple(singular(word) for word in humanise(name).split())


@lru_cache(maxsize=20_000)
def alike(a: str, b: str) -> bool:
    """Whether one folded word may stand for the other: by its stem, its first letters (Chilean and Chile) or but for a
    slip of the pen.
    """
    if a == b or stem(a) == stem(b) or b in _LANDS.get(a, ()) or a in _LANDS.get(b, ()):
        return True
    short = min(len(a), len(b))
    return (short >= 4 and a[: max(4, short - 3)] == b[: max(4, short - 3)]) or (short > 4 and _slip(a, b))


def _slip(a: str, b: str) -> bool:
    """One letter missing, added or another, or two neighbours swapped."""
    if len(a) > len(b):
        a, b = b, a
    at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), len(a))
    if len(a) < len(b):
        return a[at:] == b[at + 1 :]
    return a[at + 1 :] == b[at + 1 :] or (
        a[at : at + 2] == b[at : at + 2][::-1] and a[at + 2 :] == b[at + 2 :]
    )


@dataclass(frozen=True)
class Number:
    """A number of the question, and the folded text before and after it."""

    value: float
    text: str
    before: str
    after: str

    @property
    def digits(self) -> bool:
        return self.text[0].isdigit()


class Wording:
    """A question read by rules."""

    def __init__(self, question: str):
        self.text = " ".join(question[:LONGEST].split())
        self.folded = self.text.casefold()
        self.quoted = [match[2].strip() for match in _QUOTED.finditer(self.text)]
        self.tokens = _TOKEN.findall(self.text)
        self.words = [re.sub("['’]s$", "", token.casefold()) for token in self.tokens]
        self.stems = [stem(word) for word in self.words]
        self.stem_set = frozenset(self.stems)

    def says(self, pattern: re.Pattern[str]) -> str | None:
        """The first words that a pattern finds."""
        match = pattern.search(self.folded)
        return match[0].strip() if match else None

    @cached_property
    def runs(self) -> frozenset[Phrase]:
        """Every run of one to four words, each in the singular."""
        words = [singular(word) for word in self.words]
        return frozenset(tuple(words[i : i + n]) for n in range(1, 5) for i in range(len(words) - n + 1))

    @cached_property
    def numbers(self) -> list[Number]:
        """Written with digits or as a word; `1,000`, `5 million`. A quoted one is a name."""
        quoted = set(" ".join(self.quoted).split())
        found = []
        for match in _TOKEN.finditer(self.text):
            token, word = match[0], match[0].casefold()
            digits = _NUMBER.fullmatch(token) is not None
            if token in quoted or not (digits or word in _NUMBER_WORDS):
                continue
            value = float(token.replace(",", "")) if digits else float(_NUMBER_WORDS[word])
            before, after = (
                self.text[max(0, match.start() - 45) : match.start()],
                self.text[match.end() :][:30],
            )
            following = after.split(maxsplit=1)[:1]
            value *= _SCALES.get(following[0].casefold(), 1.0) if following else 1.0
            found.append(Number(value, token, before.casefold(), after.casefold()))
        return found

    @cached_property
    def names(self) -> list[str]:
        """Runs of capitalised words that begin no sentence: what a person spells as a name."""
        found: list[str] = []
        for sentence in _SENTENCE.split(_QUOTED.sub(" , ", self.text)):
            words = sentence.split()[1:]
            if sum(word[0].isupper() for word in words) > len(words) / 2:
                continue  # a headline, or shouted
            run: list[str] = []
            for word in [*words, "."]:
                if word[0].isupper() and word != "I":
                    run.append(re.sub("['’]s$", "", word.strip(".,;:?!()")))
                if run and (not word[0].isupper() or word[-1] in ",;:"):
                    found.append(" ".join(run))
                    run = []
        return [name for name in found if len(name) > 1]

    @cached_property
    def months(self) -> list[int]:
        """The months that it names, from 1; `Apr` is one, `may` and `march` only with a capital."""
        found = []
        for token in self.tokens:
            word = token.casefold()
            for number, month in enumerate(MONTHS, 1):
                short = len(word) in (3, 4) and month.startswith(word)
                if (word == month or short) and (token[0].isupper() or (word == month and len(word) > 5)):
                    found.append(number)
        return found

    @cached_property
    def sentences(self) -> int:
        return sum(bool(part.strip()) for part in _SENTENCE.split(self.folded))

    @cached_property
    def asked(self) -> list[Phrase]:
        """What it asks to see, each thing as its words: "the names and ages of singers" asks (names,) and (ages,).

        "Which singer is the oldest? List the name." asks for the name: the last command decides.
        """
        openings = [
            (match, sentence)
            for sentence in _SENTENCE.split(self.folded)
            if (match := _OPENER.search(sentence)) is not None
        ]
        if not openings:
            return []
        commands = [opening for opening in openings if opening[0]["command"]]
        match, sentence = commands[-1] if commands else openings[0]
        return list(_things(sentence[match.end() :]))


def _things(rest: str) -> Iterator[Phrase]:
    rest = _after_filler(rest)
    end = _END.search(rest)
    for part in _PARTS.split((rest[: end.start()] if end else rest).strip()):
        words = tuple(_TOKEN.findall(_after_filler(part)))
        if words and words[:2] not in (("how", "many"), ("how", "much")):
            yield words


def _after_filler(text: str) -> str:
    match = _FILLER.match(text)
    return text[match.end() :] if match else text


@lru_cache(maxsize=512)
def wording(question: str) -> Wording:
    return Wording(question)
