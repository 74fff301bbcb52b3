"""Which tables of a large database a question is about: the part of the schema that goes into the prompt.

A table is worth what the question's words say of it: each word that its name, its columns or its values have, the more the
fewer other tables have it too; and a share of what the tables that it has keys to are worth, since answers are joined. What is
asked of the schema alone is built once for each and kept.
"""

import math
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Sequence
from threading import Lock

from corpus.contents import Contents
from corpus.linking import content_words, name_words, stem
from corpus.schema import Schema, Table

TABLE, WHOLE, COLUMN, VALUE = 3.0, 1.0, 1.5, 2.5
LENGTH = 0.5
"""A word of a table's name; all its words; a word of a column's name; a value."""
NEIGHBOUR = 0.35
"""Of a neighbour's worth that a table has too."""
LEAST = 0.45
"""Tables worth less than this share of the best are left out."""
KEPT = 16
LONGEST = 5


class _Index:
    """The words of a schema: which tables have each, in their names or in their columns'; and keys between tables."""

    def __init__(self, schema: Schema) -> None:
        self.tables = {table.name: table for table in schema.tables}
        self.named: dict[str, set[str]] = defaultdict(set)
        self.columned: dict[str, set[str]] = defaultdict(set)
        self.words = {table.name: frozenset(map(stem, name_words(table.name))) for table in schema.tables}
        for table in schema.tables:
            for word in self.words[table.name]:
                self.named[word].add(table.name)
            for column in table.columns:
                for word in name_words(column.name):
                    self.columned[stem(word)].add(table.name)
        self.neighbours: dict[str, set[str]] = defaultdict(set)
        for key in schema.foreign_keys:
            if key.table != key.ref_table:
                self.neighbours[key.table].add(key.ref_table)
                self.neighbours[key.ref_table].add(key.table)

    def rarity(self, tables: Iterable[str]) -> float:
        """1 for what one table has, near 0 for what all have."""
        return math.log((1 + len(self.tables)) / (1 + len(set(tables)))) / math.log(1 + len(self.tables))


_kept: OrderedDict[int, tuple[Schema, _Index]] = OrderedDict()
_lock = Lock()


def _index(schema: Schema) -> _Index:
    with _lock:
        found = _kept.get(id(schema))
        if found is None or found[0] is not schema:
            found = _kept[id(schema)] = (schema, _Index(schema))
            while len(_kept) > KEPT:
                _kept.popitem(last=False)
        return found[1]


def worth(question: str, schema: Schema, contents: Contents) -> dict[str, float]:
    """What each table is worth to the question; tables worth nothing are left out."""
    index = _index(schema)
    found: defaultdict[str, float] = defaultdict(float)
    words = content_words(question)
    stems = {stem(word) for word in words}
    for word in stems:
        for table in (named := index.named.get(word, set())):
            found[table] += TABLE * index.rarity(named) / len(index.words[table]) ** LENGTH
        for table in (having := index.columned.get(word, set())):
            found[table] += COLUMN * index.rarity(having)
    for table in list(found):
        if index.words[table] <= stems:
            found[table] += WHOLE
    for places in _values(words, contents):
        tables = {table for table, _ in places if table in index.tables}
        for table in tables:
            found[table] += VALUE * index.rarity(tables)
    own = dict(found)
    for table, value in own.items():
        for other in index.neighbours[table]:
            found[other] = max(found[other], own.get(other, 0.0) + NEIGHBOUR * value)
    return dict(found)


def _values(words: Sequence[str], contents: Contents) -> Iterable[dict[tuple[str, str], str]]:
    taken = [False] * len(words)
    for length in range(min(LONGEST, len(words)), 0, -1):
        for first in range(len(words) - length + 1):
            span = slice(first, first + length)
            if not any(taken[span]) and (places := contents.find(" ".join(words[span]))):
                taken[span] = [True] * length
                yield places


def relevant(
    question: str, schema: Schema, contents: Contents, *, most_tables: int, most_columns: int
) -> Schema:
    """The part of `schema` that the question is about, its tables in the schema's own order.

    As many tables as fit, the worthiest first; none that is worth much less than the best, unless it joins two that are in.
    """
    index = _index(schema)
    values = worth(question, schema, contents)
    ranked = sorted(values, key=lambda name: -values[name])
    best = values[ranked[0]] if ranked else 0.0
    chosen: dict[str, None] = {}
    columns = 0

    def take(table: Table) -> None:
        nonlocal columns
        if table.name not in chosen and len(chosen) < most_tables:
            chosen[table.name] = None
            columns += len(table.columns)

    for name in ranked or [table.name for table in schema.tables]:
        if values.get(name, 0.0) < LEAST * best or columns >= most_columns:
            break
        take(index.tables[name])
    for name in list(chosen):  # a table of keys alone joins two that were chosen
        for between in index.neighbours[name]:
            if len(index.neighbours[between] & chosen.keys()) > 1:
                take(index.tables[between])
    tables = tuple(table for table in schema.tables if table.name in chosen)
    keys = tuple(k for k in schema.foreign_keys if k.table in chosen and k.ref_table in chosen)
    return Schema(tables, keys)
