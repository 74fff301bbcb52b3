"""Names of tables and columns as people say them: abbreviations spelled out, singular and plural, synonyms."""

import random
import re
from functools import lru_cache
from pathlib import Path

from corpus.abbreviations import abbreviations
from corpus.linking import name_words

_FOLDER = Path(__file__).parent
_PREPOSITIONS = frozenset(["of", "in", "per", "for", "with", "by", "at", "on", "from", "to"])
_NOISE = frozenset(["ref", "tbl", "tb", "table"])
_VOWELS = re.compile(r"[aeiouy]")
_IRREGULAR = {
    "person": "people",
    "man": "men",
    "woman": "women",
    "child": "children",
    "foot": "feet",
    "tooth": "teeth",
    "mouse": "mice",
    "goose": "geese",
    "leaf": "leaves",
    "wife": "wives",
    "life": "lives",
    "knife": "knives",
    "shelf": "shelves",
    "half": "halves",
    "analysis": "analyses",
    "crisis": "crises",
    "basis": "bases",
    "thesis": "theses",
    "criterion": "criteria",
    "phenomenon": "phenomena",
    "index": "indexes",
    "matrix": "matrices",
    "medium": "media",
    "hero": "heroes",
    "potato": "potatoes",
    "quiz": "quizzes",
    "bus": "buses",
    "campus": "campuses",
    "status": "statuses",
    "gas": "gases",
    "alumnus": "alumni",
    "curriculum": "curricula",
    "address": "addresses",
    "business": "businesses",
    "movie": "movies",
    "cookie": "cookies",
    "zombie": "zombies",
    "calorie": "calories",
    "house": "houses",
    "course": "courses",
    "horse": "horses",
    "nurse": "nurses",
    "warehouse": "warehouses",
    "purchase": "purchases",
    "database": "databases",
    "release": "releases",
    "expense": "expenses",
    "license": "licenses",
    "disease": "diseases",
    "case": "cases",
    "phase": "phases",
    "lease": "leases",
    "race": "races",
    "response": "responses",
    "base": "bases",
    "cause": "causes",
    "clause": "clauses",
    "cruise": "cruises",
    "exercise": "exercises",
    "franchise": "franchises",
    "enterprise": "enterprises",
    "size": "sizes",
    "prize": "prizes",
    "cache": "caches",
    "cow": "cows",
    "shoe": "shoes",
}
_SINGULAR = {many: one for one, many in _IRREGULAR.items()}
_UNCOUNTED = frozenset(
    [
        "staff",
        "information",
        "equipment",
        "software",
        "hardware",
        "furniture",
        "news",
        "series",
        "species",
        "sheep",
        "fish",
        "aircraft",
        "offspring",
        "faculty",
        "weather",
        "data",
        "music",
        "traffic",
        "money",
        "stock",
        "research",
        "knowledge",
        "water",
        "rice",
        "mail",
        "email",
        "content",
        "inventory",
        "feedback",
        "employment",
        "attendance",
        "advice",
        "evidence",
        "gas",
        "physics",
        "economics",
        "statistics",
        "history",
        "cattle",
        "oxen",
        "goods",
    ]
)

_MASS = frozenset(
    [
        "weather",
        "data",
        "information",
        "history",
        "inventory",
        "traffic",
        "attendance",
        "employment",
        "money",
        "stock",
    ]
)
_UNITS = frozenset(
    [
        "milliseconds",
        "bytes",
        "miles",
        "inches",
        "minutes",
        "seconds",
        "hours",
        "feet",
        "meters",
        "metres",
        "dollars",
        "billions",
        "millions",
        "thousands",
        "points",
        "degrees",
        "years",
        "days",
        "months",
        "weeks",
        "kilometers",
        "pounds",
        "euros",
        "status",
        "address",
        "gross",
        "series",
        "gross",
        "earnings",
        "sales",
        "hours",
    ]
)


@lru_cache(maxsize=1)
def _abbreviations() -> dict[str, str]:
    lines = (_FOLDER / "abbreviations.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split(" = ") for line in lines if " = " in line)


@lru_cache(maxsize=50_000)
def short_forms(word: str) -> tuple[str, ...]:
    """Abbreviations that stand for this word."""
    every = {**abbreviations(), **_abbreviations()}
    return tuple(short for short, spelled in every.items() if spelled == word)


@lru_cache(maxsize=1)
def _synonyms() -> dict[str, tuple[str, ...]]:
    lines = (_FOLDER / "synonyms.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split(" = ") for line in lines if " = " in line)
    return {word: tuple(others.split(", ")) for word, others in pairs}


@lru_cache(maxsize=50_000)
def singular(word: str) -> str:
    if word in _SINGULAR:
        return _SINGULAR[word]
    if word in _UNCOUNTED or word in _IRREGULAR or not (word.endswith(("s", "men"))):
        return word
    if word.endswith("men") and word not in ("specimen", "regimen"):
        return word[:-3] + "man"
    if re.search(r"(ss|us|is|os)$", word):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if re.search(r"(sses|shes|ches|xes|zzes|oes)$", word):
        return word[:-2]
    return word[:-1]


@lru_cache(maxsize=50_000)
def plural(word: str) -> str:
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word in _UNCOUNTED or word in _SINGULAR:
        return word
    if word.endswith("s") and singular(word) != word:
        return word
    if word.endswith("man") and word not in ("human", "german"):
        return word[:-3] + "men"
    if re.search(r"[^aeiou]y$", word):
        return word[:-1] + "ies"
    if re.search(r"(s|sh|ch|x|z)$", word):
        return word + "es"
    return word + "s"


def _head(words: list[str]) -> int:
    """Which word of a phrase is its noun: the last, or the one before "of", "in" and the like."""
    for i, word in enumerate(words):
        if i and word in _PREPOSITIONS:
            return i - 1
    return len(words) - 1


def _inflect(phrase: str, many: bool) -> str:
    words = phrase.split()
    i = _head(words)
    words[i] = plural(words[i]) if many else singular(words[i])
    return " ".join(words)


@lru_cache(maxsize=50_000)
def many(phrase: str) -> str:
    """`date of birth` is dates of birth."""
    return _inflect(phrase, True)


@lru_cache(maxsize=50_000)
def one(phrase: str) -> str:
    return _inflect(phrase, False)


def spelled_out(name: str) -> tuple[str, ...]:
    """Words of an identifier with its abbreviations spelled out."""
    given = list(name_words(name))
    if len(given) > 1 and given[-1] in ("min", "sec"):  # end_min is of a clock, not of a range
        given[-1] = {"min": "minute", "sec": "second"}[given[-1]]
    return tuple(w for word in given for w in _abbreviations().get(word, word).split())


def readable(words: tuple[str, ...]) -> bool:
    """Whether these are words that a person would say."""
    return bool(words) and all(
        word in _PREPOSITIONS
        or word in ("a", "id", "tv", "no", "gpa", "iso", "isbn", "url", "ip", "usd", "km", "kg", "mpg", "cd")
        or (word.isalpha() and word.isascii() and len(word) > 2 and _VOWELS.search(word) is not None)
        for word in words
    )


def table_phrase(name: str) -> str:
    """What one row of the table is called."""
    words = [w for w in spelled_out(name) if w not in _NOISE] or [name.lower()]
    if words[0] == "reference" and len(words) > 1:
        words = words[1:]
    if words[-1] in _MASS:
        words.append("record")
    return one(" ".join(words))


def column_phrase(name: str, table: str) -> str:
    """What a column is called next to its table: the table's own name left out, counts as "number of"."""
    words = list(spelled_out(name))
    own = table_phrase(table).split()
    for k in (len(own), 1):
        last = own[-k:]
        if len(words) > k and [singular(w) for w in words[:k]] == last and words[k:] != ["id"]:
            words = words[k:]
            break
    if words[0] == "number" and len(words) > 1 and words[1] != "of":
        words = ["number", "of", *words[1:-1], plural(words[-1])]
    elif words[0] == "number" and len(words) > 2:
        words = ["number", "of", *words[2:-1], plural(words[-1])]
    if words[-1] == "id" and len(words) > 1 and len(words) == 1 + len(own) and words[:-1] == own:
        words = ["id"]
    return " ".join(words)


def counting(phrase: str) -> str:
    """A column of numbers named by what it counts: `total horses` is total number of horses."""
    words = phrase.split()
    head = words[-2] if words[-1] == "available" and len(words) > 1 else words[-1]
    if singular(head) == head or head in _UNITS or "number" in words or _PREPOSITIONS & set(words):
        return phrase
    if words[0] in ("total", "average", "maximum", "minimum") and len(words) > 1:
        return f"{words[0]} number of {' '.join(words[1:])}"
    return f"number of {phrase}"


def with_synonym(phrase: str, rng: random.Random, taken: frozenset[str]) -> str:
    """The phrase, its last word at times another of like meaning; none of `taken`, which name other things."""
    words = phrase.split()
    i = _head(words)
    for candidate in (phrase, words[i]):
        others = [o for o in _synonyms().get(candidate, ()) if o not in taken and not taken & set(o.split())]
        if others:
            new = rng.choice(others)
            return new if candidate == phrase else " ".join([*words[:i], new, *words[i + 1 :]])
    return phrase
