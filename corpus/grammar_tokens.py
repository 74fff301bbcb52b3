"""The grammar over a tokenizer's tokens: which may be next, so that what is written is a statement of the prompt's database.

A statement as far as it is written is a set of threads: what is left of the grammar's rules, the scopes, and how far into a
lexeme the tokens are. States are kept, since beams and steps meet the same ones again; what of them depends on the rules
alone is kept for all prompts. A lexeme is written in the tokens that the tokenizer itself makes of it, and no others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpus import grammar_scopes as scoping
from corpus.grammar import CLASSES, LITERALS, STATEMENT, Shortest, lexemes, openings
from corpus.grammar_literals import START, Literals
from corpus.grammar_scopes import Names, Scopes
from corpus.references import Binding

Ids = tuple[int, ...]
Encode = Callable[[str], Sequence[int]]
Stack = tuple[str, ...]
SLACK = 48
"""With so many tokens to spare beyond the shortest end, any next token leaves room for one."""
_TABLES = frozenset(["TABLE", "JOINED", "ALIASING"])
_VALUES = frozenset(["VALUE", "COUNT"])
_ALIASES = frozenset(["ALIAS", "OWN_ALIAS", "NEW_ALIAS"])


class _Fan(NamedTuple):
    """What may open behind some notes, as far as the rules alone say: lexemes by their first tokens, and classes."""

    notes: Stack
    first: NDArray[np.intp]
    words: dict[int, list[tuple[Stack, Ids]]]
    classes: tuple[tuple[str, Stack], ...]


class Vocabulary:
    """What the grammar has to know of a tokenizer. Build once for each."""

    def __init__(self, encode: Encode, texts: Sequence[str], special: Iterable[int]) -> None:
        """`texts` are the tokens' own, by id; those of `special` are atomic and no part of a literal."""
        self.size = len(texts)
        self._ids: dict[str, Ids] = {lexeme: tuple(encode(lexeme)) for lexeme in lexemes()}
        self.aliases = {alias: tuple(encode(f" {alias}")) for alias in scoping.ALIASES}
        self.literals = Literals(texts, frozenset(special))
        self._encode = encode
        lengths = {lexeme: len(ids) for lexeme, ids in self._ids.items()}
        self._shortest = Shortest(lengths)
        self._scarce = Shortest(
            {**lengths, "COLUMN": 5, "OWN_COLUMN": 5}
        )  # something like length ( 5 ) instead
        self.shortest = lru_cache(maxsize=50_000)(self._way)
        self.fans = lru_cache(maxsize=50_000)(self._fans)
        self.reference = lru_cache(maxsize=None)(self._reference)

    def _reference(self, text: str) -> int:
        """The one token of `<c7>` and the like."""
        (token,) = self._encode(text)
        return token

    def _way(self, stack: Stack, scarce: bool) -> tuple[int, str, bool]:
        """The fewest tokens of a stack, its top, and whether they have a column of the innermost SELECT in them."""
        inner = stack[max((i for i, symbol in enumerate(stack) if symbol == "@close"), default=0) :]
        shortest = self._scarce if scarce else self._shortest
        return shortest.tokens(stack), stack[-1] if stack else "", shortest.names_column(inner)

    def _fans(self, stack: Stack) -> tuple[_Fan, ...]:
        by_notes: dict[Stack, list[tuple[str, Stack]]] = {}
        for notes, terminal, rest in openings(stack):
            by_notes.setdefault(notes, []).append((terminal, rest))
        fans = []
        for notes, found in by_notes.items():
            words: dict[int, list[tuple[Stack, Ids]]] = {}
            for terminal, rest in found:
                if terminal not in CLASSES:
                    first, *more = self._ids[terminal]
                    words.setdefault(first, []).append((rest, tuple(more)))
            classes = tuple(one for one in found if one[0] in CLASSES)
            fans.append(_Fan(notes, np.fromiter(words, np.intp), words, classes))
        return tuple(fans)


class _Thread(NamedTuple):
    stack: Stack
    scopes: Scopes
    rest: Ids = ()
    """Tokens of a lexeme that are still to come."""
    literal: tuple[str, int] | None = None
    """Within a number or a string: which, and how far."""


class _Way(NamedTuple):
    """Tokens of one kind that a thread may go on with: `numbers` has what each refers to."""

    tokens: NDArray[np.intp] | NDArray[np.bool_]
    terminal: str
    rest: Stack
    scopes: Scopes
    numbers: dict[int, int]


class State:
    """Where a statement stands. `mask` says which token may be next."""

    __slots__ = ("after", "mask", "needs", "threads", "ways", "words")

    def __init__(self, threads: tuple[_Thread, ...], size: int, needs: int) -> None:
        self.threads = threads
        self.needs = needs
        """So many tokens suffice to end it, the end included."""
        self.mask: NDArray[np.bool_] = np.zeros(size, dtype=np.bool_)
        self.words: list[tuple[dict[int, list[tuple[Stack, Ids]]], Scopes]] = []
        self.ways: list[_Way] = []
        self.after: dict[int, State] = {}

    def add(self, way: _Way) -> None:
        self.ways.append(way)
        self.mask[way.tokens] = True


class Grammar:
    """The statements that may be written for one prompt, token by token.

    `start()` is where one begins; `mask(state, left)` is an array over the vocabulary, true for what may be next when so
    many tokens may still be written; `after(state, token)` is the state behind it. Not for several threads at once.
    """

    def __init__(self, binding: Binding, vocabulary: Vocabulary) -> None:
        self.binding = binding
        self._names = Names(binding)
        self._vocabulary = vocabulary
        self._states: dict[tuple[_Thread, ...], State] = {}
        self._columns: dict[frozenset[int], tuple[NDArray[np.intp], dict[int, int]]] = {}
        self._start = self._state([_Thread(STATEMENT, ())])

    @property
    def empty(self) -> bool:
        """Whether there is nothing to ask of: no column is known."""
        return not self._names.table_of

    def start(self) -> State:
        return self._start

    def mask(self, state: State, left: int) -> NDArray[np.bool_]:
        if left >= state.needs + SLACK:
            return state.mask
        needs = {int(token): self.after(state, int(token)).needs for token in np.flatnonzero(state.mask)}
        fitting = [token for token, more in needs.items() if more < left]
        mask = np.zeros_like(state.mask)
        mask[fitting or [min(needs, key=needs.__getitem__)]] = True
        return mask

    def after(self, state: State, token: int) -> State:
        """The state behind `token`. Raises KeyError where the mask does not allow it."""
        found = state.after.get(token)
        if found is None:
            if not state.mask[token]:
                raise KeyError(f"token {token} cannot stand here")
            found = state.after[token] = self._state(list(self._moves(state, token)))
        return found

    def accepts(self, ids: Sequence[int]) -> bool:
        """Whether these tokens, the end included, are a statement."""
        state = self._start
        for token in ids:
            if not state.mask[token]:
                return False
            state = self.after(state, token)
        return any(not thread.stack for thread in state.threads)

    def _state(self, threads: Sequence[_Thread]) -> State:
        key = tuple(dict.fromkeys(threads))
        found = self._states.get(key)
        if found is None:
            found = State(key, self._vocabulary.size, min(map(self._needs, key), default=0))
            for thread in key:
                self._open(found, thread)
            self._states[key] = found
        return found

    def _needs(self, thread: _Thread) -> int:
        tokens, top, names_column = self._vocabulary.shortest(
            thread.stack, scoping.scarce(self._names, thread.scopes)
        )
        if thread.literal and not self._vocabulary.literals.table(*thread.literal).ends:
            tokens += 2
        return tokens + len(thread.rest) + scoping.debt(self._names, thread.scopes, top, names_column)

    def _open(self, state: State, thread: _Thread) -> None:
        """Add to a state what may be next in one of its threads."""
        stack, scopes, rest, literal = thread
        if rest:
            state.words.append(({rest[0]: [(stack, rest[1:])]}, scopes))
            state.mask[rest[0]] = True
            return
        if literal:
            table = self._vocabulary.literals.table(*literal)
            state.add(_Way(table.mask, literal[0], stack, scopes, table.after))
            if not table.ends:
                return
        noted: dict[Stack, Scopes | None] = {(): scopes}
        for fan in self._vocabulary.fans(stack):
            known = self._noted(fan.notes, noted)
            if known is None:
                continue
            if len(fan.first):
                state.words.append((fan.words, known))
                state.mask[fan.first] = True
            for terminal, after in fan.classes:
                tokens, numbers = self._tokens(terminal, known)
                if numbers:
                    state.add(_Way(tokens, terminal, after, known, numbers))

    def _noted(self, notes: Stack, known: dict[Stack, Scopes | None]) -> Scopes | None:
        if notes not in known:
            before = self._noted(notes[:-1], known)
            known[notes] = None if before is None else scoping.note(notes[-1], self._names, before)
        return known[notes]

    def _moves(self, state: State, token: int) -> Iterator[_Thread]:
        """The threads that a token leads to."""
        for words, scopes in state.words:
            for stack, rest in words.get(token, ()):
                yield _Thread(stack, scopes, rest)
        for way in state.ways:
            if (number := way.numbers.get(token)) is not None:
                yield self._moved(way, number)

    def _moved(self, way: _Way, number: int) -> _Thread:
        if way.terminal in LITERALS:
            return _Thread(way.rest, way.scopes, literal=(way.terminal, number))
        if way.terminal in _VALUES:
            return _Thread(way.rest, way.scopes)
        if way.terminal in _ALIASES:
            alias = scoping.ALIASES[number]
            scopes = scoping.after_alias(way.terminal, alias, way.scopes)
            return _Thread(way.rest, scopes, self._vocabulary.aliases[alias][1:])
        return _Thread(way.rest, scoping.after(way.terminal, number, self._names, way.scopes))

    def _tokens(
        self, terminal: str, scopes: Scopes
    ) -> tuple[NDArray[np.intp] | NDArray[np.bool_], dict[int, int]]:
        """The tokens of a class, and the number that each stands for."""
        names = self._names
        if terminal in LITERALS:
            table = self._vocabulary.literals.table(terminal, START)
            return table.mask, table.after
        if terminal in _ALIASES:
            found = {
                self._vocabulary.aliases[a][0]: scoping.ALIASES.index(a)
                for a in self._aliases(terminal, scopes)
            }
        elif terminal in _VALUES:
            found = self._refer("v", names.values if terminal == "VALUE" else names.counts)
        elif terminal in _TABLES:
            find = {"TABLE": scoping.tables, "JOINED": scoping.joined, "ALIASING": scoping.aliasing}[terminal]
            found = self._refer("t", find(names, scopes))
        elif terminal == "RESULT":
            found = self._refer("c", scopes[-1].results)
        else:
            if terminal == "ALIASED":
                tables = scoping.aliased_tables(names, scopes)
            else:
                tables = scoping.column_tables(names, scopes, outer=terminal != "OWN_COLUMN")
            if tables not in self._columns:
                own = self._refer("c", [c for c, table in enumerate(names.table_of) if table in tables])
                self._columns[tables] = (np.fromiter(own, np.intp), own)
            return self._columns[tables]
        return np.fromiter(found, np.intp), found

    def _refer(self, kind: str, numbers: Iterable[int]) -> dict[int, int]:
        return {self._vocabulary.reference(f"<{kind}{i}>"): i for i in numbers}

    def _aliases(self, terminal: str, scopes: Scopes) -> list[str]:
        if terminal == "NEW_ALIAS":
            pending = scopes[-1].pending
            return [pending[0]] if pending else []
        return scoping.aliases(scopes, outer=terminal == "ALIAS")
