"""Which words of a question name tables and columns, and which are values: by stems, contents and shape of the word."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

import snowballstemmer

from corpus.abbreviations import spelled
from corpus.contents import Contents
from corpus.dates import MONTHS, find_dates
from corpus.schema import Schema

_STEMMER = snowballstemmer.stemmer("english")
_WORD = re.compile(r"\d{4}-\d{2}-\d{2}|\d[\d,]*\.?\d+|\w+(?:['’\-.&]\w+)*|[^\w\s]")
_QUOTED = re.compile(r"\"([^\"]+)\"|(?<!\w)'([^']+)'(?!\w)|“([^”]+)”|‘([^’]+)’")
_NUMBER_WORDS = "zero one two three four five six seven eight nine ten eleven twelve"
_NUMBERS = {word: str(i) for i, word in enumerate(_NUMBER_WORDS.split())}
_GRAMMAR = """
    a an the of in on at to for from by with and or not is are was were be been do does did have has had what which who
    whom whose when where how many much show list give find tell me return all each every any some that this these those
    there their its it than more less most least number count total average name names id ids as per please can i we you
    no yes name's s between over under above below after before up down one out
"""
_STOP = frozenset(_GRAMMAR.split())
_LONGEST_VALUE = 7
_MOST_NEAR = 3
MOST_CLOSE = 5


class Near(Protocol):
    """What names mean in comparison with words; `corpus.nearness` has one."""

    def __call__(self, words: Sequence[str], names: tuple[str, ...]) -> list[list[int]]:
        """For each word the indices of the names that mean about the same."""
        ...

    def closest(self, words: Sequence[str], names: tuple[str, ...]) -> list[int]:
        """The indices of all names, those first that one of the words comes closest to."""
        ...


@lru_cache(maxsize=100_000)
def stem(word: str) -> str:
    return _STEMMER.stemWord(word.casefold())


@lru_cache(maxsize=100_000)
def name_words(name: str) -> tuple[str, ...]:
    """An identifier in lower-case words, abbreviations spelled out: `Song_releaseYr` is song, release, year."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[^\w]|_", " ", name)
    words = spaced.lower().split()
    if len(words) > 1 and re.fullmatch(r"tbl|fld|vw|dim|fact", words[0]):  # says what it is, not what of
        words = words[1:]
    return spelled(tuple(words)) or (name.lower(),)


@lru_cache(maxsize=100_000)
def spelled_word(word: str) -> str:
    """A word of a question, spelled out where it is an abbreviation of one word: people write qty and dept too."""
    (first, *more) = spelled((word.casefold(),))
    return word if more else first


@dataclass
class Value:
    """A span of the question that may be a literal. `places` are the columns that hold it, with its spelling there."""

    text: str
    places: dict[tuple[str, str], str] = field(default_factory=dict)
    month: str | None = None

    @property
    def number(self) -> str | None:
        return self.text if re.fullmatch(r"-?\d+(\.\d+)?", self.text) else None


@dataclass
class Word:
    """A word of the question, and what the phrase that ends with it names; or what it is a part of the name of; or
    what it means about the same as.
    """

    text: str
    space_before: bool
    tables: tuple[str, ...] = ()
    columns: tuple[tuple[str, str], ...] = ()
    part_tables: tuple[str, ...] = ()
    part_columns: tuple[tuple[str, str], ...] = ()
    near_tables: tuple[str, ...] = ()
    near_columns: tuple[tuple[str, str], ...] = ()
    values: tuple[int, ...] = ()
    in_value: bool = False
    named_by: int = 1
    """Words of the phrase that is the name, this one the last."""
    valued_by: int = 1
    """Words of the phrase that is the value."""


@dataclass
class Links:
    words: list[Word]
    values: list[Value]
    marks: dict[tuple[str, str], str]
    """Match of each matched column to the question: "exact", "part" or "near"."""
    table_marks: dict[str, str]
    close: tuple[tuple[str, str], ...] = ()
    """Columns that nothing in the question names, the closest in meaning first."""


def link(
    question: str, schema: Schema, contents: Contents, *, max_values: int = 16, near: Near | None = None
) -> Links:
    """Find in `question` the names and values of one database. Deterministic; no errors but those of `near`."""
    spans = [(m.start(), m.end()) for m in _WORD.finditer(question)]
    texts = [question[a:b] for a, b in spans]
    words = [Word(t, i == 0 or spans[i - 1][1] < spans[i][0]) for i, t in enumerate(texts)]
    links = Links(words, [], {}, {})
    _link_values(question, spans, texts, contents, schema, links, max_values)
    _link_names(texts, schema, links)
    if near:
        _link_near(schema, links, near)
        _find_close(schema, links, near)
    return links


def _link_values(
    question: str,
    spans: Sequence[tuple[int, int]],
    texts: Sequence[str],
    contents: Contents,
    schema: Schema,
    links: Links,
    max_values: int,
) -> None:
    taken = [False] * len(texts)

    def add(first: int, last: int, value: Value, *, takes: bool = True) -> None:
        if len(links.values) < max_values and not (takes and any(taken[first : last + 1])):
            links.words[last].values += (len(links.values),)
            links.words[last].valued_by = last - first + 1
            links.values.append(value)
            if takes:
                taken[first : last + 1] = [True] * (last - first + 1)
                for word in links.words[first : last + 1]:
                    word.in_value = True

    for match in _QUOTED.finditer(question):
        inside = [i for i, (a, b) in enumerate(spans) if a >= match.start() and b <= match.end()]
        text = next(g for g in match.groups() if g is not None)
        if inside:
            add(inside[0], inside[-1], Value(text, dict(contents.find(text))))
    dates = list(find_dates(question))
    for span in dates:
        inside = [i for i, (a, b) in enumerate(spans) if a >= span.start and b <= span.end]
        if span.whole and inside:
            add(inside[0], inside[-1], Value(span.texts[0], dict(contents.find(span.texts[0]))))
    names = {w for t in schema.tables for w in map(stem, name_words(t.name))}
    names |= {stem(w) for _, c in schema.columns() for w in name_words(c.name)}
    for length in range(min(_LONGEST_VALUE, len(texts)), 0, -1):
        for first in range(len(texts) - length + 1):
            last = first + length - 1
            if any(taken[first : last + 1]):
                continue
            text = question[spans[first][0] : spans[last][1]]
            places = contents.find(text)
            if not places and length == 1:
                places = contents.find(text.removesuffix("s")) if len(text) > 4 else {}
            if not places or (length == 1 and not _may_be_value(text, names, places)):
                continue
            add(first, last, Value(next(iter(places.values())), dict(places), MONTHS.get(text.casefold())))
    for i, text in enumerate(texts):
        folded = text.casefold()
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text) or re.fullmatch(r"\d[\d,]*(\.\d+)?", text):
            plain = text.replace(",", "") if "-" not in text else text
            add(i, i, Value(plain, dict(contents.find(plain))))
        elif folded in MONTHS and (folded != "may" or text[0].isupper()):
            add(i, i, Value(text, {}, MONTHS[folded]))
        elif folded in _NUMBERS and folded != "one":
            add(i, i, Value(_NUMBERS[folded]))
        elif i > 0 and (_introduces(texts, i) or (text[0].isupper() and _is_plain_name(text, names))):
            add(i, i, Value(text))
    for span in dates:
        inside = [i for i, (a, b) in enumerate(spans) if a >= span.start and b <= span.end]
        if not span.whole and inside:
            for text in span.texts:
                add(inside[-1], inside[-1], Value(text), takes=False)


def _introduces(texts: Sequence[str], i: int) -> bool:
    """Whether the words before word i announce a piece of text: contains, starting with, named, the word."""
    if not texts[i][0].isalnum() or texts[i].casefold() in _STOP:
        return False
    before = texts[i - 1].casefold()
    return re.fullmatch(
        r"contain\w*|named|called|letters?|substring|string|prefix|suffix|text", before
    ) is not None or (
        before == "with" and i > 1 and re.match(r"start|begin|end", texts[i - 2].casefold()) is not None
    )


def _is_plain_name(text: str, names: set[str]) -> bool:
    """A capitalised word that is neither grammar nor of the schema: a name that the contents may lack."""
    return (
        text.casefold() not in _STOP
        and text.casefold() not in MONTHS
        and stem(text) not in names
        and len(text) > 1
    )


def _may_be_value(text: str, names: set[str], places: dict[tuple[str, str], str]) -> bool:
    """A lone word that stands in the contents: not where it is rather grammar or a name of the schema."""
    if not any(c.isalnum() for c in text) or text.casefold() in _STOP:
        return False
    if stem(text) in names:
        return text[0].isupper() and text in places.values()
    return len(text) > 1 or text.isupper()


def _link_names(texts: Sequence[str], schema: Schema, links: Links) -> None:
    stems = [stem(spelled_word(t)) for t in texts]
    tables: dict[tuple[str, ...], list[str]] = defaultdict(list)
    columns: dict[tuple[str, ...], list[tuple[str, str]]] = defaultdict(list)
    for table in schema.tables:
        own = tuple(map(stem, name_words(table.name)))
        tables[own].append(table.name)
        for column in table.columns:
            key = tuple(map(stem, name_words(column.name)))
            columns[key].append((table.name, column.name))
            if key[: len(own)] == own and len(key) > len(
                own
            ):  # singer.singer_name: also "name" near "singer"
                columns[key[len(own) :]].append((table.name, column.name))
    covered = [False] * len(texts)
    longest = max(map(len, [*tables, *columns]), default=0)
    table_spans: list[tuple[int, list[str]]] = []
    column_spans: list[tuple[int, list[tuple[str, str]]]] = []
    for length in range(min(longest, len(texts)), 0, -1):
        for first in range(len(texts) - length + 1):
            key = tuple(stems[first : first + length])
            last = first + length - 1
            if any(covered[first : last + 1]) or (key not in tables and key not in columns):
                continue
            covered[first : last + 1] = [True] * length
            links.words[last].named_by = length
            if key in tables:
                table_spans.append((last, tables[key]))
                for name in tables[key]:
                    links.table_marks[name] = "exact"
            if key in columns:
                column_spans.append((last, columns[key]))
                for place in columns[key]:
                    links.marks[place] = "exact"
    for last, found_tables in table_spans:
        links.words[last].tables = tuple(found_tables[:2])
    for last, found in column_spans:
        near = [place for place in found if place[0] in links.table_marks]
        chosen = near if near else found
        if len(chosen) <= 4:
            links.words[last].columns = tuple(chosen)
    _link_parts(texts, stems, covered, schema, links)


def _link_parts(
    texts: Sequence[str], stems: Sequence[str], covered: Sequence[bool], schema: Schema, links: Links
) -> None:
    """Words that are a part of a longer name: budget, of budget_in_billions."""
    parts: dict[str, list[tuple[str, str]]] = defaultdict(list)
    table_parts: dict[str, list[str]] = defaultdict(list)
    for table in schema.tables:
        for word in name_words(table.name):
            table_parts[stem(word)].append(table.name)
        for column in table.columns:
            for word in set(name_words(column.name)):
                parts[stem(word)].append((table.name, column.name))
    for i, text in enumerate(texts):
        if covered[i] or text.casefold() in _STOP or len(text) < 3:
            continue
        found = [p for p in parts.get(stems[i], []) if p not in links.marks]
        near = [p for p in found if p[0] in links.table_marks]
        for place in found:
            links.marks[place] = "part"
        chosen = near or found
        if 0 < len(chosen) <= 3:
            links.words[i].part_columns = tuple(chosen)
        part_tables = [t for t in table_parts.get(stems[i], []) if t not in links.table_marks]
        for name in part_tables:
            links.table_marks.setdefault(name, "part")
        if 0 < len(part_tables) <= 2 and not chosen:
            links.words[i].part_tables = tuple(part_tables)


def content_words(question: str) -> list[str]:
    """The words of a question that say something: no grammar, no signs."""
    return [t for t in _WORD.findall(question) if any(map(str.isalnum, t)) and t.casefold() not in _STOP]


def open_words(question: str) -> list[str]:
    """The words of a question that `near` may be asked about."""
    return [text.casefold() for text in _WORD.findall(question) if _says(text)]


def schema_names(schema: Schema) -> list[str]:
    """What words are compared with: tables and columns, in words, and columns with their tables."""
    tables = [" ".join(name_words(table.name)) for table in schema.tables]
    columns = [" ".join(name_words(column.name)) for _, column in schema.columns()]
    return [*tables, *columns, *column_phrases(schema).values()]


def column_phrases(schema: Schema) -> dict[tuple[str, str], str]:
    """Columns that are no keys, each as a phrase with its table: what is compared with a question's words."""
    keys = {(k.table, k.column) for k in schema.joins} | {(k.ref_table, k.ref_column) for k in schema.joins}
    return {
        (
            table.name,
            column.name,
        ): f"{' '.join(name_words(column.name))} of {' '.join(name_words(table.name))}"
        for table in schema.tables
        for column in table.columns
        if not column.primary_key and (table.name, column.name) not in keys
    }


def _find_close(schema: Schema, links: Links, near: Near) -> None:
    """What nobody names people still mean: the columns that some word of the question comes closest to."""
    phrases = column_phrases(schema)
    words = [word.text.casefold() for word in links.words if not word.in_value and _says(word.text)]
    named = {place for value in links.values for place in value.places}
    for word in links.words:
        named.update(word.columns, word.part_columns, word.near_columns)
    places = list(phrases)
    ranked = near.closest(words, tuple(phrases.values()))
    links.close = tuple(place for place in (places[i] for i in ranked) if place not in named)


def _says(text: str) -> bool:
    return any(map(str.isalpha, text)) and text.casefold() not in _STOP


def _may_be_near(text: str) -> bool:
    return text.isalpha() and len(text) > 2 and text.casefold() not in _STOP


def _link_near(schema: Schema, links: Links, near: Near) -> None:
    """Words that name nothing as they stand: the names that mean about the same."""
    words = [
        word
        for word in links.words
        if not (word.tables or word.columns or word.part_tables or word.part_columns or word.in_value)
        and _may_be_near(word.text)
    ]
    tables: dict[str, list[str]] = defaultdict(list)
    columns: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for table in schema.tables:
        tables[" ".join(name_words(table.name))].append(table.name)
        for column in table.columns:
            columns[" ".join(name_words(column.name))].append((table.name, column.name))
    names = tuple(dict.fromkeys([*tables, *columns]))
    for word, found in zip(words, near([w.text.casefold() for w in words], names), strict=True):
        near_tables = [t for i in found for t in tables.get(names[i], [])]
        near_columns = [c for i in found for c in columns.get(names[i], [])]
        beside = [c for c in near_columns if c[0] in links.table_marks]
        word.near_tables = tuple(near_tables[:_MOST_NEAR])
        word.near_columns = tuple((beside or near_columns)[:_MOST_NEAR])
        for t in near_tables:
            links.table_marks.setdefault(t, "near")
        for c in near_columns:
            links.marks.setdefault(c, "near")
