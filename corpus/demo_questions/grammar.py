"""The declared intents and the words they are said in, read from the text files beside this one.

Notation in a wording: `[a|b]` one of these, `<word>` a synonym from the lexicon, `{c.key}` the facet's text,
`{slot}` a value, and a leading `= ` marks a whole sentence that needs no frame.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal, get_args

from corpus.errors import CorpusError

Split = Literal["train", "calibration", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
Pick = Callable[[Sequence[str]], str]

_CHOICE = re.compile(r"\[([^\[\]]*)\]|<([a-z]+)>|\{c\.(\w+)\}")
_ARTICLE = re.compile(r"\b([Aa])n? (?=(\w))")
_INTENT = re.compile(r"(\w+): (\w+)(?:, c=(\w+)(?:\(([\w ]+)\))?)?$")


def stable_number(text: str) -> int:
    """A number that depends on `text` alone, the same in every process."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


@dataclass(frozen=True)
class Words:
    """The alternatives for one place in a wording, by split."""

    by_split: dict[Split, tuple[str, ...]]

    @classmethod
    def parse(cls, text: str, where: str) -> "Words":
        cells = [tuple(word.strip() for word in cell.split(",")) for cell in text.split(" | ")]
        if len(cells) not in (1, len(SPLITS)) or not all(word for cell in cells for word in cell):
            raise CorpusError(f"{where}: expected one cell or `train | calibration | test`, found {text!r}.")
        return cls(dict(zip(SPLITS, cells * len(SPLITS) if len(cells) == 1 else cells, strict=False)))


@dataclass(frozen=True)
class Facet:
    """One thing that a generic intent may be about, such as the rating of suppliers."""

    name: str
    texts: dict[str, Words]


@dataclass(frozen=True)
class Intent:
    """One kind of question: its SQL, its wordings by split, and the facets it ranges over (maybe none)."""

    name: str
    kind: str
    sql: str
    wordings: dict[Split, tuple[str, ...]]
    facets: tuple[Facet, ...]

    def held_out(self) -> frozenset[str]:
        """Facets with which train never asks this intent, though it asks both apart."""
        ranked = sorted(self.facets, key=lambda facet: stable_number(f"{self.name}/{facet.name}"))
        return frozenset(facet.name for facet in ranked[: len(ranked) // 4])

    def facets_for(self, split: Split) -> tuple[Facet | None, ...]:
        if not self.facets:
            return (None,)
        held_out = self.held_out() if split == "train" else frozenset()
        return tuple(facet for facet in self.facets if facet.name not in held_out)


@dataclass(frozen=True)
class Grammar:
    intents: tuple[Intent, ...]
    frames: dict[tuple[str, Split], tuple[str, ...]]
    lexicon: dict[str, Words]

    def expand(self, text: str, split: Split, facet: Facet | None, pick: Pick) -> str:
        """`text` with its choices made by `pick`; only value slots are left."""

        def replace(match: re.Match) -> str:
            return pick(self._options(match, split, facet))

        while _CHOICE.search(text):
            text = _CHOICE.sub(replace, text)
        return _tidy(text)

    def expansions(self, text: str, split: Split, facet: Facet | None) -> Iterator[str]:
        """All that `expand` could make of `text`."""
        match = _CHOICE.search(text)
        if match is None:
            yield _tidy(text)
            return
        for option in dict.fromkeys(self._options(match, split, facet)):
            yield from self.expansions(text[: match.start()] + option + text[match.end() :], split, facet)

    def _options(self, match: re.Match, split: Split, facet: Facet | None) -> Sequence[str]:
        choice, word, key = match.groups()
        if choice is not None:
            return choice.split("|")
        if word is not None:
            return self.lexicon[word].by_split[split]
        assert facet is not None, match[0]  # Grammar.load has looked
        return facet.texts[key].by_split[split]

    def frames_of(self, intent: Intent, wording: str, split: Split) -> tuple[tuple[str, ...], str]:
        """The frames that fit a wording, and the wording without its mark."""
        if wording.startswith("= "):
            return self.frames["said", split], wording[2:]
        return self.frames[intent.kind, split], wording

    def phrases(self, split: Split) -> set[str]:
        """Everything that the split's intents can say, less the frames around it, with slots open."""
        return {
            plain(expanded)
            for intent in self.intents
            for facet in intent.facets_for(split)
            for wording in intent.wordings[split]
            for expanded in self.expansions(self.frames_of(intent, wording, split)[1], split, facet)
        }

    @cached_property
    def held_back(self) -> frozenset[str]:
        """The phrases of calibration and test, which train may not say."""
        return frozenset(self.phrases("calibration") | self.phrases("test"))

    @classmethod
    @lru_cache(maxsize=1)
    def load(cls) -> "Grammar":
        """Read and check the files; a mistake raises CorpusError with its file and line."""
        folder = Path(__file__).parent
        lexicon = dict(_entries(folder / "lexicon.txt"))
        facets = _facets(folder / "facets.txt")
        frames = _frames(folder / "frames.txt")
        intents: list[Intent] = []
        for path in sorted((folder / "intents").glob("*.txt")):
            intents += _intents(path, facets)
        grammar = cls(tuple(intents), frames, lexicon)
        grammar._check()
        return grammar

    def _check(self) -> None:
        if len({intent.name for intent in self.intents}) != len(self.intents):
            raise CorpusError("intents: a name is used twice; give each intent its own.")
        for intent in self.intents:
            for split in SPLITS:
                for text in (intent.sql, *intent.wordings[split]):
                    for facet in intent.facets or (None,):
                        try:
                            self.expand(text, split, facet, lambda options: options[0])
                            self.frames_of(intent, text, split)
                        except (KeyError, AssertionError) as error:
                            named = facet.name if facet else "no facet"
                            raise CorpusError(
                                f"intent {intent.name} ({named}): unknown {error} in {text!r}."
                            ) from None


def plain(text: str) -> str:
    """A wording without case and punctuation, so that a question mark makes no difference."""
    return " ".join(re.sub(r"[^\w{}<>=%#]+", " ", text.lower()).split())


def _tidy(text: str) -> str:
    """Single spaces, and `a` or `an` by the next letter (`a unit` stands as it is)."""

    def article(match: re.Match) -> str:
        return f"{match[1]}{'n' if match[2].lower() in 'aeio' else ''} "

    return _ARTICLE.sub(article, " ".join(text.split()))


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if not line.startswith("#"):
            yield f"{path.name}, line {number}", line.rstrip()


def _entries(path: Path) -> Iterator[tuple[str, Words]]:
    for where, line in _lines(path):
        if line:
            yield _entry(where, line)


def _entry(where: str, line: str) -> tuple[str, Words]:
    key, equals, text = line.partition(" = ")
    if not equals:
        raise CorpusError(f"{where}: expected `key = words`, found {line!r}.")
    return key, Words.parse(text, where)


def _paragraphs(path: Path) -> Iterator[list[tuple[str, str]]]:
    paragraph: list[tuple[str, str]] = []
    for where, line in [*_lines(path), ("", "")]:
        if line:
            paragraph.append((where, line))
        elif paragraph:
            yield paragraph
            paragraph = []


def _facets(path: Path) -> dict[str, list[Facet]]:
    families: dict[str, list[Facet]] = {}
    for (_, name), *lines in _paragraphs(path):
        family, _, short = name.partition(".")
        families.setdefault(family, []).append(Facet(short, dict(_entry(*line) for line in lines)))
    return families


def _frames(path: Path) -> dict[tuple[str, Split], tuple[str, ...]]:
    frames: dict[tuple[str, Split], tuple[str, ...]] = {}
    for where, line in _lines(path):
        head, _, frame = line.partition(": ")
        kind, _, name = head.partition(" ")
        if name not in SPLITS or "{np}" not in frame:
            raise CorpusError(f"{where}: expected `kind split: phrasing with {{np}}`, found {line!r}.")
        split: Split = next(each for each in SPLITS if each == name)
        frames[kind, split] = (*frames.get((kind, split), ()), frame)
    return frames


def _intents(path: Path, families: dict[str, list[Facet]]) -> Iterator[Intent]:
    for (where, head), *lines in _paragraphs(path):
        match = _INTENT.match(head)
        if match is None or (match[3] and match[3] not in families):
            raise CorpusError(f"{where}: expected `name: kind` or `name: kind, c=facets`, found {head!r}.")
        facets = families[match[3]] if match[3] else []
        if match[4]:
            facets = [facet for facet in facets if facet.name in match[4].split()]
        said: dict[str, list[str]] = {"sql": [], **{split: [] for split in SPLITS}}
        for place, line in lines:
            key, _, text = line.partition(": ")
            if key not in said or not text:
                raise CorpusError(f"{place}: expected sql:, train:, calibration: or test:, found {line!r}.")
            said[key].append(text)
        if len(said["sql"]) != 1 or not all(said.values()):
            raise CorpusError(f"{where}: intent {match[1]} needs one sql: line and wordings of every split.")
        wordings = {split: tuple(said[split]) for split in SPLITS}
        yield Intent(match[1], match[2], said["sql"][0], wordings, tuple(facets))
