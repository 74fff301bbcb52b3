"""The reference format: a prompt in which every table, column and value has a number, and SQL over those numbers.

    <bos><schema><tab> head<t0> age<num><c0> name<c1> ...<ask> how many heads<t0> are older<part><c0> than 56<v0><sql>
     select count ( * ) where<c0> ><v0><eos>

The model points instead of spelling. A reference stands behind its name, both in the schema and, where words of the question
name something, behind these words: to foresee the second from the first is the same skill as to point from SQL, so training
takes its loss on them too. Nothing in the schema's part depends on the question, so that all questions on a database share it,
in training and in a key-value cache. A column of few different texts has them behind its name (`status: open, shut<c3>`): a
question has the meaning of a code alone. How a word matches a name (whole, <part>, or <near> in meaning), and which columns
hold a value, stands in the question, and at its end (`|<near><c4><c2>`) the columns that nothing in it names and that come
closest to its words in meaning. FROM is left out where `corpus.joins` infers it from the columns. `corpus.fold` turns SQL
into this form and back; here are the prompts.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from corpus.contents import Contents
from corpus.linking import MOST_CLOSE, Links, Near, Value, link, name_words
from corpus.relevance import relevant
from corpus.schema import Column, Schema, Table

MAX_TABLES, MAX_COLUMNS, MAX_VALUES = 24, 64, 16
MAX_PLACES = 3
"""Columns named beside a value that they hold."""
BOS, EOS, ASK, SCHEMA, SQL, TELL, WORDS, TABLE = (
    "<bos>",
    "<eos>",
    "<ask>",
    "<schema>",
    "<sql>",
    "<tell>",
    "<words>",
    "<tab>",
)
YES, NO, ANY = "<yes>", "<no>", "<%>"
KEY, PART, NEAR = "<key>", "<part>", "<near>"
CLOSE = f" |{NEAR}"
"""Behind a question, before the columns that nothing in it names and that come closest to it in meaning."""
_TYPES = {"number": "<num>", "time": "<time>", "boolean": "<bool>", "text": ""}
REFERENCES: tuple[str, ...] = (
    *(f"<t{i}>" for i in range(MAX_TABLES)),
    *(f"<c{i}>" for i in range(MAX_COLUMNS)),
    *(f"<v{i}>" for i in range(MAX_VALUES)),
)
_MARKS = (ASK, SCHEMA, SQL, TELL, WORDS, TABLE, YES, NO, ANY, KEY, PART, NEAR, "<num>", "<time>", "<bool>")
SPECIAL_TOKENS: tuple[str, ...] = (*_MARKS, *REFERENCES)
"""Of the format; <pad>, <bos> and <eos> are the tokenizer's own."""
CHAT_TEMPLATE = "{% for message in messages %}{% if message['role'] == 'user' %}{{ message['content'] }}{% endif %}{% endfor %}"


@dataclass(frozen=True)
class Binding:
    """What each reference of one prompt stands for."""

    schema: Schema
    tables: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]
    values: tuple[Value, ...]

    def table_reference(self, name: str) -> str | None:
        return next((f"<t{i}>" for i, t in enumerate(self.tables) if t.casefold() == name.casefold()), None)

    def column_reference(self, table: str, column: str) -> str | None:
        wanted = (table.casefold(), column.casefold())
        return next(
            (f"<c{i}>" for i, (t, c) in enumerate(self.columns) if (t.casefold(), c.casefold()) == wanted),
            None,
        )

    def references(self) -> Iterator[str]:
        """Every reference that the prompt defines: what a decoder may allow."""
        yield from (f"<t{i}>" for i in range(len(self.tables)))
        yield from (f"<c{i}>" for i in range(len(self.columns)))
        yield from (f"<v{i}>" for i in range(len(self.values)))


@dataclass(frozen=True)
class Prompt:
    """`text` ends where the SQL begins; `schema` is its part up to the question, `question` the rest."""

    schema: str
    question: str
    binding: Binding
    links: Links

    @property
    def text(self) -> str:
        return self.schema + self.question


def ask(
    question: str,
    schema: Schema,
    contents: Contents,
    shuffle: random.Random | None = None,
    near: Near | None = None,
) -> Prompt:
    """Prompt for SQL. `shuffle` reorders tables and columns (training), which keeps numbers from being learnt by heart;
    `near` finds names that mean about the same as a word.
    """
    stored = schema.without_repeats()
    if stored is not schema:
        schema, contents = stored, contents.within(table.name for table in stored.tables)
    if len(schema.tables) > MAX_TABLES or sum(len(table.columns) for table in schema.tables) > MAX_COLUMNS:
        schema = relevant(question, schema, contents, most_tables=MAX_TABLES, most_columns=MAX_COLUMNS)
        contents = contents.within(table.name for table in schema.tables)  # what others hold is no value here
    links = link(question, schema, contents, max_values=MAX_VALUES, near=near)
    binding, kept = _number(schema, links, shuffle)
    text = f"{ASK}{_question(links, binding)}{SQL}"
    return Prompt(f"{BOS}{SCHEMA}{_schema(kept, binding, contents)}", text, binding, links)


def ask_narrowly(
    question: str,
    schema: Schema,
    contents: Contents,
    shuffle: random.Random | None = None,
    near: Near | None = None,
) -> Prompt:
    """Prompt for SQL with the part of the schema alone that the question is about, whatever the schema's size."""
    part = relevant(
        question, schema.without_repeats(), contents, most_tables=MAX_TABLES, most_columns=MAX_COLUMNS
    )
    return ask(question, part, contents.within(table.name for table in part.tables), shuffle, near)


def plain(text: str) -> str:
    """Text of a user, free of anything that would read as a special token."""
    return " ".join(text.replace("<", "‹").split())


def _number(
    schema: Schema, links: Links, shuffle: random.Random | None
) -> tuple[Binding, list[tuple[Table, list[Column]]]]:
    kept = _fit(schema, links)
    if shuffle:
        shuffle.shuffle(kept)
        for _, own in kept:
            shuffle.shuffle(own)
    tables = tuple(table.name for table, _ in kept)
    columns = tuple((table.name, column.name) for table, cs in kept for column in cs)
    return Binding(schema, tables, columns, tuple(links.values)), kept


def _fit(schema: Schema, links: Links) -> list[tuple[Table, list[Column]]]:
    """Tables and columns within the numbers there are, the best linked first to be kept, in the schema's order."""
    keys = {(k.table, k.column) for k in schema.joins} | {(k.ref_table, k.ref_column) for k in schema.joins}
    in_value = {place for value in links.values for place in value.places}

    def rank(table: Table, column: Column) -> float:
        place = (table.name, column.name)
        mark = {"exact": 4.0, "part": 2.0, "near": 1.5}.get(links.marks.get(place, ""), 0.0)
        beside = {"exact": 3.0, "part": 1.0, "near": 1.0}.get(links.table_marks.get(table.name, ""), 0.0)
        return mark + beside + 4.0 * (place in in_value) + 2.5 * (place in keys or column.primary_key)

    best = {t.name: max((rank(t, c) for c in t.columns), default=0.0) for t in schema.tables}
    tables = sorted(schema.tables, key=lambda t: -best[t.name])[:MAX_TABLES]
    places = [(t, c) for t in tables for c in t.columns]
    chosen = {(t.name, c.name) for t, c in sorted(places, key=lambda p: -rank(*p))[:MAX_COLUMNS]}
    names = {t.name for t in tables}
    return [
        (t, [c for c in t.columns if (t.name, c.name) in chosen]) for t in schema.tables if t.name in names
    ]


def _question(links: Links, binding: Binding) -> str:
    """The question, each word followed by what it names: tables, columns, or a value and the columns that hold it."""
    parts = []
    for word in links.words:
        parts.append((" " if word.space_before else "") + plain(word.text.casefold()))
        for mark, tables, columns in (
            ("", word.tables, word.columns),
            (PART, word.part_tables, word.part_columns),
            (NEAR, word.near_tables, word.near_columns),
        ):
            found = [binding.table_reference(t) for t in tables] + [
                binding.column_reference(*c) for c in columns
            ]
            known = [reference for reference in found if reference]
            parts.extend([mark, *known] if known else [])
        for i in word.values:
            places = [binding.column_reference(*place) for place in links.values[i].places]
            parts.extend([f"<v{i}>", *[place for place in places if place][:MAX_PLACES]])
    close = [reference for place in links.close if (reference := binding.column_reference(*place))]
    return "".join([*parts, CLOSE, *close[:MOST_CLOSE]] if close else parts)


def _schema(kept: list[tuple[Table, list[Column]]], binding: Binding, contents: Contents) -> str:
    keys = {(k.table, k.column) for k in binding.schema.joins}
    parts = []
    number = 0
    for t, (table, columns) in enumerate(kept):
        parts.append(f"{TABLE} {plain(' '.join(name_words(table.name)))}<t{t}>")
        for column in columns:
            key = KEY if column.primary_key or (table.name, column.name) in keys else ""
            name = plain(" ".join(name_words(column.name)))
            codes = [plain(value) for value in contents.codes.get((table.name, column.name), ())]
            told = f": {', '.join(codes)}" if codes else ""
            parts.append(f" {name}{told}{_TYPES[column.type]}{key}<c{number}>")
            number += 1
    return "".join(parts)
