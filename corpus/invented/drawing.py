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

_TWO_DOMAINS = 0.2
"""Share of databases made of two domains, as larger ones are of several matters."""
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

    @staticmethod
    def draw(rng: random.Random) -> "Style":
        return Style(
            case=rng.choices([name for name, _ in _CASES], [weight for _, weight in _CASES])[0],
            plural=rng.random() < 0.4,
            key=rng.choices(("id", "table_id", "code"), (4, 5, 1))[0],
            keys_declared=rng.random() < 0.8,
            shortened=rng.choice((0.0, 0.0, 0.1, 0.3)),
            prefixed=rng.choice((0.0, 0.0, 0.2, 0.6)),
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
    for domain in rng.sample(domains(), 2 if rng.random() < _TWO_DOMAINS else 1):
        for table in _tables(domain, style, rng):
            tables.setdefault(table.name.casefold(), table)
    kept = list(tables.values())
    counts = {table.name: rng.randint(6, 60) for table in kept}
    connection = sqlite3.connect(path)
    try:
        for table in kept:
            connection.execute(_ddl(table, kept, style))
            rows = _rows(table, counts, rng)
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
        columns: dict[str, _Column] = {}
        for outline in domain.tables[i].columns:
            if outline.parent is not None and outline.parent in said:
                other = said[outline.parent]
                key = f"{other} id" if style.key == "id" else style.key_of(other)
                column = _Column(style.spell(key, rng), "", names[outline.parent])
            elif outline.parent is None and (outline is domain.tables[i].columns[0] or rng.random() < 0.85):
                words = rng.choice(outline.names)
                if prefixed and words in ("name", "title", "kind", "status", "year", "date", "description"):
                    words = f"{said[i]} {words}"
                column = _Column(style.spell(words, rng), outline.kind)
            else:
                continue
            if column.name.casefold() != keys[i].casefold():
                columns.setdefault(column.name.casefold(), column)
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


def _rows(table: _Table, counts: dict[str, int], rng: random.Random) -> list[list[Value]]:
    makers = [
        _key_of(counts[column.parent], rng) if column.parent else maker(column.kind, rng)
        for column in table.columns
    ]
    return [[i + 1, *(make() for make in makers)] for i in range(counts[table.name])]


def _key_of(rows: int, rng: random.Random) -> Callable[[], Value]:
    """Keys of a table of so many rows, some of them often and some seldom."""
    weights = [rng.random() ** 2 for _ in range(rows)]
    return lambda: rng.choices(range(1, rows + 1), weights)[0]


@lru_cache(maxsize=1000)
def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
