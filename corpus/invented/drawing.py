"""A database drawn from a domain: some of its tables and columns, under names in one style, with rows."""

import random
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from corpus.invented.outline import Domain, TableOutline, domains
from corpus.invented.values import Value, declared, maker
from corpus.synthetic.names import many, short_forms

_DOMAINS = ((1, 65), (2, 25), (3, 10))
"""Of how many domains a database is made: larger ones are of several matters."""
_BLOCKS = (
    (
        ("address", "street"),
        ("city", "city"),
        ("country", "country"),
        ("postal code", "code"),
        ("phone", "phone"),
    ),
    (
        ("company", "company"),
        ("contact name", "person"),
        ("contact title", "Owner/Buyer/Agent/Assistant/Manager"),
    ),
    (("ship name", "company"), ("ship city", "city"), ("ship country", "country")),
    (("billing address", "street"), ("billing city", "city"), ("billing country", "country")),
    (("email", "email"), ("phone", "phone"), ("fax", "phone?")),
    (("created on", "date"), ("updated on", "date?"), ("notes", "title?")),
    (("description", "title"), ("active", "yes/no")),
)
"""Columns that tables of business databases often have beside their own."""
_WIDENED = 0.25
"""Share of tables that get such a block."""
_FLAGS = ("yes/no", "yes/no", "Y/N", "1/0", "1/0", "true/false")
_SUPERIOR, _SUPERIORS = (
    0.3,
    ("reports to", "manager id", "supervisor id", "boss id", "mentor id", "leader id"),
)
"""Share of tables of people that have a key to themselves, and its names."""
_FIRST_KEYS = (1, 1, 1, 1, 101, 1000, 10001)
_SPLIT = 0.35
"""Share of columns of people's names that are two: first and last name."""
_CASES = (("snake", 55), ("pascal", 20), ("capital", 15), ("camel", 10))


@dataclass(frozen=True)
class Style:
    """How one database names things."""

    case: str
    plural: bool
    key: str  # "id", "table_id" or "code"
    keys_declared: bool
    shortened: float
    prefixed: float
    timed: bool
    """Whether days are written with a time of midnight."""
    flags: str
    """How yes and no are written."""

    @staticmethod
    def draw(rng: random.Random) -> "Style":
        return Style(
            case=rng.choices([name for name, _ in _CASES], [weight for _, weight in _CASES])[0],
            plural=rng.random() < 0.4,
            key=rng.choices(("id", "table_id", "code"), (4, 5, 1))[0],
            keys_declared=rng.random() < 0.8,
            shortened=rng.choice((0.0, 0.0, 0.1, 0.3)),
            prefixed=rng.choice((0.0, 0.0, 0.2, 0.6)),
            timed=rng.random() < 0.12,
            flags=rng.choice(_FLAGS),
        )

    def spell(self, words: str, rng: random.Random) -> str:
        parts = [
            rng.choice(short_forms(word)) if rng.random() < self.shortened and short_forms(word) else word
            for word in words.split()
        ]
        if self.case == "snake":
            return "_".join(parts)
        capital = [part[:1].upper() + part[1:] for part in parts]
        if self.case == "capital":
            return "_".join(capital)
        return "".join(capital if self.case == "pascal" else [parts[0], *capital[1:]])

    def key_of(self, table: str) -> str:
        return {"id": "id", "table_id": f"{table} id", "code": f"{table} code"}[self.key]


@dataclass(frozen=True)
class _Column:
    name: str
    kind: str
    parent: str = ""


@dataclass(frozen=True)
class _Table:
    name: str
    key: str
    columns: tuple[_Column, ...]


def invent_database(path: str | Path, seed: int) -> None:
    """Write a SQLite file at `path`, whose schema and rows follow from `seed`."""
    rng = random.Random(f"invented {seed}")
    style = Style.draw(rng)
    tables: dict[str, _Table] = {}
    count = rng.choices([n for n, _ in _DOMAINS], [weight for _, weight in _DOMAINS])[0]
    for domain in rng.sample(domains(), count):
        for table in _tables(domain, style, rng):
            tables.setdefault(table.name.casefold(), table)
    kept = list(tables.values())
    counts = {table.name: rng.randint(6, 60) for table in kept}
    firsts = {table.name: rng.choice(_FIRST_KEYS) for table in kept}
    connection = sqlite3.connect(path)
    try:
        for table in kept:
            connection.execute(_ddl(table, kept, style))
            rows = _rows(table, counts, firsts, rng, style)
            places = ", ".join("?" * (len(table.columns) + 1))
            connection.executemany(f"INSERT INTO {_quoted(table.name)} VALUES ({places})", rows)
        connection.commit()
    finally:
        connection.close()


def _tables(domain: Domain, style: Style, rng: random.Random) -> list[_Table]:
    chosen = _connected(domain.tables, rng)
    said = {i: rng.choice(domain.tables[i].names) for i in chosen}
    names = {i: style.spell(many(one) if style.plural else one, rng) for i, one in said.items()}
    keys = {i: style.spell(style.key_of(one), rng) for i, one in said.items()}
    drawn = []
    for i in chosen:
        prefixed = rng.random() < style.prefixed
        columns = {keys[i].casefold(): _Column(keys[i], "")}  # no other column takes the key's name

        def add(words: str, kind: str, parent: str = "", to: dict[str, _Column] = columns) -> None:
            column = _Column(style.spell(words, rng), kind, parent)
            to.setdefault(column.name.casefold(), column)

        for outline in domain.tables[i].columns:
            if outline.parent is not None and outline.parent in said:
                other = said[outline.parent]
                key = f"{other} id" if style.key == "id" else style.key_of(other)
                add(key, "", names[outline.parent])
            elif outline.parent is None and (outline is domain.tables[i].columns[0] or rng.random() < 0.85):
                words = rng.choice(outline.names)
                if prefixed and words in ("name", "title", "kind", "status", "year", "date", "description"):
                    words = f"{said[i]} {words}"
                if outline.kind == "person" and words in ("name", "full name") and rng.random() < _SPLIT:
                    add("first name", "first")
                    add("last name", "last")
                else:
                    add(words, style.flags if outline.kind == "yes/no" else outline.kind)
        people = any(c.kind in ("person", "first") for c in columns.values())
        if people and rng.random() < _SUPERIOR:
            add(rng.choice(_SUPERIORS), "", names[i])
        if rng.random() < _WIDENED:
            for words, kind in rng.choice(_BLOCKS):
                if rng.random() < 0.85:
                    add(words, kind)
        del columns[keys[i].casefold()]
        drawn.append(_Table(names[i], keys[i], tuple(columns.values())))
    return drawn


def _connected(tables: Sequence[TableOutline], rng: random.Random) -> list[int]:
    """Some of the tables, each after the first a neighbour of one before it, in the outline's order."""
    wanted = rng.randint(2, len(tables))
    start = rng.choice([i for i, table in enumerate(tables) if table.parents])
    chosen = {start}
    while len(chosen) < wanted:
        near = {
            j for i, table in enumerate(tables) for j in table.parents if i in chosen and j not in chosen
        } | {i for i, table in enumerate(tables) if i not in chosen and chosen & set(table.parents)}
        if not near:
            break
        chosen.add(rng.choice(sorted(near)))
    return sorted(chosen)


def _ddl(table: _Table, tables: Sequence[_Table], style: Style) -> str:
    keys = {other.name: other.key for other in tables}
    lines = [f"{_quoted(table.key)} INTEGER PRIMARY KEY"]
    lines += [f"{_quoted(c.name)} {'INTEGER' if c.parent else declared(c.kind)}" for c in table.columns]
    if style.keys_declared:
        lines += [
            f"FOREIGN KEY ({_quoted(c.name)}) REFERENCES {_quoted(c.parent)} ({_quoted(keys[c.parent])})"
            for c in table.columns
            if c.parent in keys
        ]
    return f"CREATE TABLE {_quoted(table.name)} ({', '.join(lines)})"


def _rows(
    table: _Table, counts: dict[str, int], firsts: dict[str, int], rng: random.Random, style: Style
) -> list[list[Value]]:
    makers = []
    for column in table.columns:
        if column.parent:
            make = _key_of(counts[column.parent], firsts[column.parent], rng)
            makers.append(_or_none(make, 0.2, rng) if column.parent == table.name else make)
        elif style.timed and column.kind.startswith("date"):
            makers.append(_at_midnight(maker(column.kind, rng)))
        else:
            makers.append(maker(column.kind, rng))
    first = firsts[table.name]
    return [[first + i, *(make() for make in makers)] for i in range(counts[table.name])]


def _or_none(make: Callable[[], Value], share: float, rng: random.Random) -> Callable[[], Value]:
    return lambda: None if rng.random() < share else make()


def _at_midnight(make: Callable[[], Value]) -> Callable[[], Value]:
    def timed() -> Value:
        day = make()
        return None if day is None else f"{day} 00:00:00"

    return timed


def _key_of(rows: int, first: int, rng: random.Random) -> Callable[[], Value]:
    """Keys of a table of so many rows from `first` on, some of them often and some seldom."""
    weights = [rng.random() ** 2 for _ in range(rows)]
    return lambda: rng.choices(range(first, first + rows), weights)[0]


@lru_cache(maxsize=1000)
def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
