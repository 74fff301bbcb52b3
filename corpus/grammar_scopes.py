"""What a grammar without context cannot say: whose columns may stand where, which tables FROM must name, how many columns.

A statement being written is seen as scopes, one for each SELECT that is open. A scope knows which tables its columns have
called for, and from FROM on which it has; so that `corpus.fold.unfold` always finds FROM, and SQLite every column.
"""

from collections.abc import Callable, Collection, Iterable
from functools import lru_cache
from typing import Literal, NamedTuple

from corpus.joins import connect
from corpus.references import Binding

ALIASES = "abcdefgh"
DEEPEST = 4
"""Queries inside one another, at most."""
Phase = Literal["items", "inferred", "listing", "listed", "joining", "joined"]
_KNOWN = frozenset[Phase](["listed", "joining", "joined"])


class Scope(NamedTuple):
    """One SELECT as far as it is written. Tables and columns are numbers of the prompt."""

    phase: Phase = "items"
    used: frozenset[int] = frozenset()
    """Tables whose columns stand in it without an alias, as long as FROM can still follow or be inferred."""
    tables: frozenset[int] = frozenset()
    """Tables that FROM has, those without an alias."""
    last: int = -1
    """The last table of a FROM that lists them."""
    aliases: tuple[tuple[str, int], ...] = ()
    """Before FROM those that it must define, after it those that it has."""
    places: int = 0
    """How many tables a FROM with joins has so far."""
    pending: tuple[str, int] | None = None
    """An alias that a column is to follow, or a table that its alias is."""
    width: int = 0
    """How many columns it must give; 0 for any."""
    items: int = 0
    starred: bool = False
    column: int = -1
    """The column that the present item began with."""
    results: tuple[int, ...] = ()
    """Items of a first SELECT that are columns and no more: what a set operation can be sorted by."""
    first: bool = True
    grouped: bool = False
    """Whether it has GROUP BY or aggregates, without which it cannot be sorted by one."""


Scopes = tuple[Scope, ...]


class Names:
    """The tables, columns and values of one prompt, as far as the scopes ask."""

    def __init__(self, binding: Binding) -> None:
        schema = binding.schema
        self._schema = schema
        self.tables = binding.tables
        self._number = {name.casefold(): i for i, name in enumerate(binding.tables)}
        self.table_of = [self._number[table.casefold()] for table, _ in binding.columns]
        self.counts = [i for i, value in enumerate(binding.values) if (value.number or "-").isdigit()]
        self.values = range(len(binding.values))
        self.widths = [len(found.columns) if (found := schema.table(t)) else 0 for t in binding.tables]
        self.island = self._islands()
        self.with_columns = frozenset(self.table_of)
        self.all_tables = frozenset(range(len(self.tables)))
        self.islands = [
            frozenset(t for t in self.all_tables if self.island[t] == i) for i in sorted(set(self.island))
        ]
        self.reach = lru_cache(maxsize=4_000)(self._reach)

    def _islands(self) -> list[int]:
        """For each table the number of the island of keys that it is on."""
        parent = {table.name.casefold(): table.name.casefold() for table in self._schema.tables}

        def root(name: str) -> str:
            while parent[name] != name:
                parent[name] = parent[parent[name]]
                name = parent[name]
            return name

        for key in self._schema.joins:
            parent[root(key.table.casefold())] = root(key.ref_table.casefold())
        numbers: dict[str, int] = {}
        return [numbers.setdefault(root(name.casefold()), len(numbers)) for name in self.tables]

    def _reach(self, tables: frozenset[int]) -> frozenset[int] | None:
        """The tables that FROM has when it is inferred from these; None where keys do not join them."""
        found = connect(self._schema, [self.tables[i] for i in tables])
        if found is None:
            return None
        return frozenset(self._number[n.casefold()] for n in found[0] if n.casefold() in self._number)

    def together(self, tables: Iterable[int]) -> bool:
        """Whether keys join all of them, by others or directly."""
        return len({self.island[i] for i in tables}) <= 1


# ---- which terminals of a class may come ----


def column_tables(names: Names, scopes: Scopes, *, outer: bool = True) -> frozenset[int]:
    """The tables whose columns may stand without an alias."""
    scope = scopes[-1]
    if scope.phase in _KNOWN:
        fitting = scope.tables
        if outer:
            for around in scopes[:-1]:
                fitting |= around.tables if around.phase in _KNOWN else around.used
        return fitting
    if scope.starred and scope.width:
        return frozenset(_pinned(names, scope))
    if scope.phase == "inferred" and scope.used:
        return names.islands[names.island[next(iter(scope.used))]]
    return names.all_tables


def _pinned(names: Names, scope: Scope) -> set[int]:
    """The tables of which * gives as many columns as are wanted."""
    return set(scope.used) or {i for i, width in enumerate(names.widths) if width == scope.width}


def aliases(scopes: Scopes, *, outer: bool = True) -> list[str]:
    scope = scopes[-1]
    if scope.phase == "items":
        return [] if scope.starred and scope.width else list(ALIASES)
    known = [alias for alias, _ in scope.aliases if ALIASES.index(alias) < scope.places]
    if outer and scope.phase in _KNOWN:
        known += [alias for around in scopes[:-1] for alias, _ in around.aliases]
    return list(dict.fromkeys(known))


def aliased_tables(names: Names, scopes: Scopes) -> frozenset[int]:
    """The tables that the alias which has just been written may stand for."""
    scope = scopes[-1]
    alias = scope.pending[0] if scope.pending else ""
    inner_first = scopes[::-1] if scope.phase in _KNOWN else (scope,)
    for around in inner_first:
        for name, table in around.aliases:
            if name == alias:
                return frozenset([table])
    return names.all_tables


def tables(names: Names, scopes: Scopes) -> list[int]:
    """The tables that may come next in a FROM that lists them, in the prompt's order."""
    scope = scopes[-1]
    if scope.aliases:
        return []
    if scope.starred and scope.width:
        return [] if scope.tables else sorted(_pinned(names, scope))
    found = []
    for table in range(scope.last + 1, len(names.tables)):
        listed = scope.tables | {table}
        if names.together(listed | scope.used):
            reach = names.reach(listed)
            if reach is not None and all(i in reach or i > table for i in scope.used):
                found.append(table)
    return found


def joined(names: Names, scopes: Scopes) -> list[int]:
    """The tables that may come next, without an alias, in a FROM with joins."""
    scope = scopes[-1]
    if (scope.starred and scope.width) or _due(scope) is not None:
        return []
    return [i for i in range(len(names.tables)) if i not in scope.tables]


def aliasing(names: Names, scopes: Scopes) -> list[int]:
    """The same, with an alias."""
    scope = scopes[-1]
    if (scope.starred and scope.width) or scope.places >= len(ALIASES):
        return []
    due = _due(scope)
    return list(range(len(names.tables))) if due is None else [due]


def _due(scope: Scope) -> int | None:
    """The table that must stand at this place of FROM, since a column before has the place's alias."""
    place = ALIASES[scope.places] if scope.places < len(ALIASES) else ""
    return next((table for alias, table in scope.aliases if alias == place), None)


# ---- what a terminal changes ----


def after(terminal: str, number: int, names: Names, scopes: Scopes) -> Scopes:
    """The scopes once a terminal of a class has been written; `number` is of its reference."""
    scope = scopes[-1]
    if terminal in ("COLUMN", "OWN_COLUMN", "ITEM_COLUMN"):
        if scope.phase not in _KNOWN:
            scope = scope._replace(used=scope.used | {names.table_of[number]})
        if terminal == "ITEM_COLUMN" and scope.first:
            scope = scope._replace(column=number)
    elif terminal == "TABLE":
        scope = scope._replace(phase="listing", tables=scope.tables | {number}, last=number)
    elif terminal == "JOINED":
        scope = scope._replace(phase="joining", tables=scope.tables | {number}, places=scope.places + 1)
    elif terminal == "ALIASING":
        pending = (ALIASES[scope.places], number)
        scope = scope._replace(phase="joining", pending=pending, places=scope.places + 1)
    elif terminal == "ALIASED":
        alias = scope.pending[0] if scope.pending else ""
        scope = scope._replace(pending=None)
        if scope.phase == "items" and alias not in dict(scope.aliases):
            added = (*scope.aliases, (alias, names.table_of[number]))
            scope = scope._replace(aliases=tuple(sorted(added)))
    return (*scopes[:-1], scope)


def after_alias(terminal: str, alias: str, scopes: Scopes) -> Scopes:
    """The scopes once an alias has been written: before its column, or behind the table that it is to stand for."""
    scope = scopes[-1]
    if terminal == "NEW_ALIAS" and scope.pending:
        defined = {**dict(scope.aliases), scope.pending[0]: scope.pending[1]}
        scope = scope._replace(aliases=tuple(sorted(defined.items())), pending=None)
    else:
        scope = scope._replace(pending=(alias, -1))
    return (*scopes[:-1], scope)


def note(name: str, names: Names, scopes: Scopes) -> Scopes | None:
    """The scopes after one of the grammar's notes; None where it says that this cannot be."""
    if name in ("@open", "@open_one"):
        return None if len(scopes) >= DEEPEST else (*scopes, Scope(width=int(name == "@open_one")))
    if name == "@close":
        return scopes[:-1]
    if name in _ROOM:
        return scopes if _ROOM[name](names, scopes) else None
    changed = _NOTES[name](names, scopes[-1])
    return None if changed is None else (*scopes[:-1], changed)


def _item(_names: Names, scope: Scope) -> Scope:
    return scope._replace(items=scope.items + 1, column=-1)


def _wider(_names: Names, scope: Scope) -> Scope | None:
    return None if scope.width and (scope.starred or scope.items >= scope.width) else scope


def _aggregate(_names: Names, scope: Scope) -> Scope | None:
    return scope._replace(grouped=True) if scope.phase == "items" else scope if scope.grouped else None


def _star(names: Names, scope: Scope) -> Scope | None:
    if scope.width and (scope.items > 1 or scope.used or scope.aliases or scope.width not in names.widths):
        return None
    return scope._replace(starred=True, items=scope.items - 1)


def _result(_names: Names, scope: Scope) -> Scope:
    return scope._replace(results=(*scope.results, scope.column), column=-1) if scope.first else scope


def _items(_names: Names, scope: Scope) -> Scope | None:
    enough = not scope.width or scope.starred or scope.items == scope.width
    return scope._replace(column=-1) if enough else None


def _infer(names: Names, scope: Scope) -> Scope | None:
    if scope.aliases or not names.together(scope.used):
        return None
    return scope._replace(phase="inferred")


def _list(names: Names, scope: Scope) -> Scope | None:
    if scope.aliases or not names.together(scope.used):
        return None
    return scope._replace(phase="listing")


def _join(_names: Names, scope: Scope) -> Scope | None:
    return None if scope.starred and scope.width else scope._replace(phase="joining")


def _listed(names: Names, scope: Scope) -> Scope | None:
    reach = names.reach(scope.tables)
    if reach is None or not scope.used <= reach:
        return None
    return scope._replace(phase="listed", tables=reach, used=frozenset())


def _joined(_names: Names, scope: Scope) -> Scope | None:
    places = ALIASES[: scope.places]
    if not scope.used <= scope.tables or any(alias not in places for alias, _ in scope.aliases):
        return None
    return scope._replace(phase="joined", used=frozenset())


def _core(_names: Names, scope: Scope) -> Scope | None:
    return None if scope.phase == "inferred" and not scope.used else scope


def _next(names: Names, scope: Scope) -> Scope | None:
    """A set operation: the next SELECT must be as wide."""
    return Scope(width=_wide(names, scope), results=scope.results, first=False)


def _wide(names: Names, scope: Scope) -> int:
    """How many columns a SELECT gives."""
    width = scope.items
    if scope.starred:
        within = names.reach(scope.used) if scope.phase == "inferred" else scope.tables
        aliased = [table for _, table in scope.aliases] if scope.phase == "joined" else []
        width += sum(names.widths[i] for i in (*(within or ()), *aliased))
    return scope.width or width


def _sortable(_names: Names, scope: Scope) -> Scope | None:
    return scope if scope.results else None


_NOTES: dict[str, Callable[[Names, Scope], Scope | None]] = {
    "@item": _item,
    "@wider": _wider,
    "@aggregate": _aggregate,
    "@grouped": lambda _names, scope: scope._replace(grouped=True),
    "@star": _star,
    "@result": _result,
    "@items": _items,
    "@infer": _infer,
    "@list": _list,
    "@join": _join,
    "@listed": _listed,
    "@joined": _joined,
    "@core": _core,
    "@next": _next,
    "@sortable": _sortable,
}
_ROOM: dict[str, Callable[[Names, Scopes], Collection[int]]] = {
    "@listable": tables,
    "@joinable": lambda names, scopes: joined(names, scopes) or aliasing(names, scopes),
    "@valued": lambda names, _scopes: names.values,
}
"""What has to be there before a lexeme that it must follow."""


def debt(names: Names, scopes: Scopes, top: str, names_column: bool) -> int:
    """Tokens that suffice for what the scopes still call for, beyond the grammar's shortest way.

    `top` is the symbol to be written next, and `names_column` whether that way has a column in it. Never less than the debt
    after the best token, and that token: so that a statement whose debt is paid in time can always be ended.
    """
    total = 0
    for depth, scope in enumerate(scopes, start=1):
        here = depth == len(scopes)
        if scope.width and not scope.starred:
            total += 2 * max(scope.width - scope.items - (here and top == "@item"), 0)
        if here and top in ("@next", " all"):
            total += 4 + 2 * _wide(names, scope)
        if scope.phase == "items":
            places = _places(scope)
            total += 8 + 6 * (places + len(scope.used)) if places or not names.together(scope.used) else 4
        elif scope.phase == "inferred" and not scope.used:
            total += 0 if here and names_column else 4
        elif scope.phase == "listing":
            total += 2 * max(len(scope.used - scope.tables) - (here and top == "TABLE"), 0)
        elif scope.phase == "joining":
            lacking = max(_places(scope) - scope.places, 0) + len(scope.used - scope.tables)
            total += 6 * lacking - 4 * (here and top == "source" and lacking > 0)
    return total


def scarce(names: Names, scopes: Scopes) -> bool:
    """Whether some SELECT has no column that may stand without an alias."""
    return any(scope.phase in _KNOWN and not scope.tables & names.with_columns for scope in scopes)


def _places(scope: Scope) -> int:
    """How many tables FROM must have, going by the aliases that were used before it."""
    letters = [alias for alias, _ in (*scope.aliases, *([scope.pending] if scope.pending else []))]
    return 1 + max(map(ALIASES.index, letters), default=-1)
