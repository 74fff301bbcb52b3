"""Which tables of a large database a question is about: the part of the schema that goes into the prompt.

Each word of the question speaks for the tables that have it in their name, in a column's or among their values, the more
the fewer there are. A table is worth what the words say of it or, discounted, of a table that it has a key to, whichever is
more for each word: so that what together covers a question stands before what has one of its words. What is asked of the
schema alone is built once for each and kept.
"""

import math
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from threading import Lock

from corpus.contents import Contents
from corpus.linking import content_words, name_words, stem
from corpus.schema import Schema

TABLE, WHOLE, COLUMN, VALUE = 3.0, 0.5, 2.5, 2.5
"""A word of a table's name; more if the name has no other; a word of a column's name; a value."""
LENGTH = 0.3
"""A table's name says less by each word the more it has: divided by their number to this power."""
NEIGHBOUR = 0.7
LEAST = 0.8
"""Tables worth less than this share of the best are left out: a stranger in the prompt costs more than a table missed."""
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
        self.referred: dict[str, set[str]] = defaultdict(set)
        for key in schema.foreign_keys:
            if key.table != key.ref_table:
                if key.ref_table in self.tables:
                    self.referred[key.table].add(key.ref_table)
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
    for said in _said(content_words(question), index, contents):
        around: dict[str, float] = dict(said)
        for table, value in said.items():
            for other in index.neighbours.get(table, ()):
                around[other] = max(around.get(other, 0.0), NEIGHBOUR * value)
        for table, value in around.items():
            found[table] += value
    return dict(found)


def _said(words: Sequence[str], index: _Index, contents: Contents) -> Iterator[dict[str, float]]:
    """What each different word, and each value, says of tables."""
    stems = dict.fromkeys(map(stem, words))
    values: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for first, length, places in _values(words, contents):
        tables = {table for table, _ in places if table in index.tables}
        for table in tables:
            values[stem(words[first])][table] = VALUE * index.rarity(tables) * length**0.5
    for word in stems:
        said = values[word]
        named, having = index.named.get(word, set()), index.columned.get(word, set())
        for table in named:
            own = index.words[table]
            more = WHOLE / len(own) if own <= stems.keys() else 0.0
            said[table] = max(said.get(table, 0.0), TABLE * index.rarity(named) / len(own) ** LENGTH + more)
        for table in having:
            said[table] = max(said.get(table, 0.0), COLUMN * index.rarity(having))
        yield said


def _values(
    words: Sequence[str], contents: Contents
) -> Iterator[tuple[int, int, dict[tuple[str, str], str]]]:
    """Spans that stand in the contents, the longest first: where each begins, its words, and the columns that hold it."""
    taken = [False] * len(words)
    for length in range(min(LONGEST, len(words)), 0, -1):
        for first in range(len(words) - length + 1):
            span = slice(first, first + length)
            if not any(taken[span]) and (places := contents.find(" ".join(words[span]))):
                taken[span] = [True] * length
                yield first, length, places


def relevant(
    question: str, schema: Schema, contents: Contents, *, most_tables: int, most_columns: int
) -> Schema:
    """The part of `schema` that the question is about, its tables in the schema's own order.

    As many tables as fit, the worthiest first; none that is worth much less than the best, unless it joins two that are in
    or one that is in refers to it: what a row belongs to is often asked for in words that its table lacks. Tables that
    refer to one that is in may be many and of anything.
    """
    index = _index(schema)
    values = worth(question, schema, contents)
    ranked = sorted(values, key=lambda name: -values[name]) or [table.name for table in schema.tables]
    least = LEAST * max(values.values(), default=0.0)
    chosen: set[str] = set()
    columns = 0
    for name in ranked:
        if values.get(name, 0.0) < least or columns >= most_columns or len(chosen) >= most_tables:
            break
        chosen.add(name)
        columns += len(index.tables[name].columns)
    for name in sorted(chosen):  # a table of keys alone joins two that were chosen
        for between in sorted(index.neighbours.get(name, ())):
            if len(index.neighbours[between] & chosen) > 1 and len(chosen) < most_tables:
                chosen.add(between)
    for name in sorted(chosen, key=lambda name: -values.get(name, 0.0)):
        for referred in sorted(index.referred.get(name, ())):
            if len(chosen) < most_tables:
                chosen.add(referred)
    tables = tuple(table for table in schema.tables if table.name in chosen)
    keys = tuple(k for k in schema.foreign_keys if k.table in chosen and k.ref_table in chosen)
    return Schema(tables, keys)
