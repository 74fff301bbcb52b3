"""The reference language as a grammar: what `corpus.fold` writes, lexeme by lexeme.

Productions over three kinds of symbols: terminals are the lexemes of the folded text (" select", "<eos>") or classes of them
(COLUMN, NUMBER, ...); names in small letters are derived; names with an @ are checks and notes of `corpus.grammar_scopes`,
which know tables and columns and derive nothing. No rule is left-recursive, so that `openings` ends.

What may aggregate is told apart in the names: `_agg` where aggregates may stand (SELECT, HAVING, ORDER BY), `_row` where they
may not (WHERE, ON, GROUP BY), `_arg` inside of one. So is what may be a bare value: of a comparison the right side alone.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache

Production = tuple[str, ...]
Opening = tuple[tuple[str, ...], str, tuple[str, ...]]
"""Notes to take, the terminal that is next, and the stack after it."""

END = "<eos>"
ANY = "<%>"
STATEMENT = ("<eos>", "query")
"""The stack that a statement starts with; the top is the last."""
LITERALS = frozenset(["NUMBER", "INTEGER", "STRING"])
CLASSES = LITERALS | {
    *("COLUMN", "OWN_COLUMN", "ITEM_COLUMN", "RESULT", "ALIASED"),
    *("TABLE", "JOINED", "ALIASING", "VALUE", "COUNT", "ALIAS", "OWN_ALIAS", "NEW_ALIAS"),
}  # fmt: skip

_COMPARISONS = (" =", " <>", " <", " >", " <=", " >=")
_ARITHMETIC = (" +", " -", " *", " /", " %", " ||")
_AGGREGATES = (" sum", " avg", " min", " max", " total", " group_concat")
_FUNCTIONS = {
    "one": "abs length lower upper trim ltrim rtrim typeof sign julianday unixepoch",
    "one_or_two": "round",
    "two": "ifnull nullif instr",
    "two_or_three": "substr substring",
    "three": "replace iif",
    "up_to_three": "date datetime time",
    "many": "coalesce",
}
"""By how many arguments they take."""


def _alternatives(text: str) -> list[Production]:
    """Productions written as words, divided by bars; a lexeme stands as itself, without its space, in quotes."""
    found = []
    for part in text.split(" | "):
        words = part.split()
        found.append(
            tuple(word if word[0] != "'" else " " + word[1:-1] for word in words if word != "nothing")
        )
    return found


def _query() -> dict[str, list[Production]]:
    return {
        name: _alternatives(text)
        for name, text in {
            "query": "@open core tail @close",
            "single": "@open_one core tail @close",
            "core": "'select' unique items from where group",
            "unique": "nothing | 'distinct'",
            "items": "@item item items_on",
            "items_on": "@items | @wider ',' @item item items_on",
            "item": "'*' @star | ITEM_COLUMN item_on | ALIAS '.' ALIASED sum_on_agg | other_agg sum_on_agg",
            "item_on": "@result | operator right_agg sum_on_agg",
            "from": "@infer | @list 'from' TABLE tables | @join 'from' source join joins",
            "tables": "@listed | @listable ',' TABLE tables",
            "source": "JOINED | ALIASING 'as' NEW_ALIAS",
            "joins": "@joined | @joinable join joins",
            "join": "side 'join' source 'on' on",
            "side": "nothing | 'left' | 'inner'",
            "on": "'true' | condition_row",
            "where": "nothing | 'where' condition_row",
            "group": "nothing | @grouped 'group' 'by' key_row keys having",
            "keys": "nothing | ',' key_row keys",
            "having": "nothing | 'having' condition_agg",
            "tail": "order @core limit | @core sets",
            "sets": "set @next core @core sets_on",
            "sets_on": "sort limit | sets",
            "set": "'union' | 'union' 'all' | 'intersect' | 'except'",
            "order": "nothing | 'order' 'by' key_agg compared way order_on",
            "order_on": "nothing | ',' key_agg compared way order_on",
            "compared": "nothing | compare_agg",
            "way": "nothing | 'asc' | 'desc'",
            "sort": "nothing | @sortable 'order' 'by' RESULT way sort_on",
            "sort_on": "nothing | ',' RESULT way sort_on",
            "limit": "nothing | 'limit' amount offset",
            "offset": "nothing | 'offset' amount",
            "amount": "INTEGER | COUNT",
        }.items()
    }


def _expressions(kind: str) -> dict[str, list[Production]]:
    nested = "" if kind == "arg" else " | '(' single ')'"
    exists = "" if kind == "arg" else " | 'exists' '(' query ')'"
    column, alias = ("OWN_COLUMN", "OWN_ALIAS") if kind == "arg" else ("COLUMN", "ALIAS")
    functions = [
        *(f"'{name}' '(' {count}_{kind}" for count, names in _FUNCTIONS.items() for name in names.split()),
        f"'strftime' '(' STRING ',' one_or_two_{kind}",
        f"'cast' '(' sum_{kind} 'as' type ')'",
    ]
    rules = {
        "condition": f"predicate_{kind} and_{kind}",
        "and": f"nothing | 'and' predicate_{kind} and_{kind} | 'or' predicate_{kind} and_{kind}",
        "predicate": f"'not' bare_{kind} | bare_{kind}",
        "bare": f"'(' condition_{kind} ')'{exists} | left_{kind} compare_{kind}",
        "compare": " | ".join(f"'{sign[1:]}' sum_{kind}" for sign in _COMPARISONS)
        + f" | is_{kind} | 'not' is_{kind} | 'is' 'null' | 'is' 'not' 'null'",
        "is": f"'like' pattern_{kind} | 'in' '(' list_{kind} ')' | 'between' sum_{kind} 'and' sum_{kind}",
        "pattern": f"@valued <%> VALUE | @valued <%> VALUE <%> | VALUE <%> | sum_{kind}",
        "list": f"right_{kind} members_{kind}" + ("" if kind == "arg" else " | single"),
        "members": f"nothing | ',' right_{kind} members_{kind}",
        "left": f"term_{kind} sum_on_{kind}",
        "sum": f"right_{kind} sum_on_{kind}",
        "sum_on": f"nothing | operator right_{kind} sum_on_{kind}",
        "right": f"VALUE | STRING | term_{kind}",
        "term": f"{column} | other_{kind} | {alias} '.' ALIASED",
        "other": f"NUMBER | '-' right_{kind} | '(' sum_{kind} ')'{nested} | call_{kind}",
        "key": f"{column} sum_on_{kind} | {alias} '.' ALIASED sum_on_{kind} | call_{kind} sum_on_{kind}"
        f" | '(' key_{kind} ')' sum_on_{kind}",  # never a bare number, which would count columns
        "call": f"function_{kind} | 'case' when_{kind} else_{kind} 'end'"
        + (" | @aggregate aggregate" if kind == "agg" else ""),
        "when": f"'when' condition_{kind} 'then' sum_{kind} when_on_{kind}",
        "when_on": f"nothing | when_{kind}",
        "else": f"nothing | 'else' sum_{kind}",
        "one": f"sum_{kind} ')'",
        "one_or_two": f"sum_{kind} second_{kind}",
        "second": f"')' | ',' one_{kind}",
        "two": f"sum_{kind} ',' one_{kind}",
        "two_or_three": f"sum_{kind} ',' one_or_two_{kind}",
        "three": f"sum_{kind} ',' two_{kind}",
        "up_to_three": f"sum_{kind} further_{kind}",
        "further": f"')' | ',' one_or_two_{kind}",
        "many": f"sum_{kind} ',' sum_{kind} more_{kind}",
        "more": f"')' | ',' sum_{kind} more_{kind}",
        "function": " | ".join(functions),
    }
    return {f"{name}_{kind}": _alternatives(text) for name, text in rules.items()}


def _rules() -> dict[str, list[Production]]:
    rules = _query()
    for kind in ("agg", "row", "arg"):
        rules.update(_expressions(kind))
    rules["operator"] = [(sign,) for sign in _ARITHMETIC]
    rules["type"] = _alternatives("'integer' | 'real' | 'text'")
    rules["aggregate"] = [
        *_alternatives("'count' '(' '*' ')' | 'count' '(' unique left_arg ')'"),
        *((name, " (", "argument", " )") for name in _AGGREGATES),
    ]
    rules["argument"] = _alternatives(
        "'distinct' left_arg | left_arg tested | 'not' bare_arg and_arg | '(' condition_arg ')' and_arg"
    )
    rules["tested"] = _alternatives("nothing | compare_arg and_arg")
    return rules


RULES: dict[str, list[Production]] = _rules()


def is_note(symbol: str) -> bool:
    return symbol[0] == "@"


def lexemes() -> list[str]:
    """Every lexeme that stands as itself in some production."""
    symbols = {symbol for productions in RULES.values() for one in productions for symbol in one}
    return sorted(s for s in symbols | {END} if s not in RULES and s not in CLASSES and not is_note(s))


def openings(stack: tuple[str, ...]) -> list[Opening]:
    """Every terminal that may be next when `stack` is still to be written."""
    found = []
    paths: Sequence[tuple[str, ...]] = [()]  # the notes on the ways in which all above derives nothing
    for i in reversed(range(len(stack))):
        first, empty = _first(stack[i])
        for path in paths:
            found += [((*path, *notes), terminal, (*stack[:i], *rest)) for notes, terminal, rest in first]
        paths = [(*path, *notes) for path in paths for notes in empty]
        if not paths:
            break
    return found


@cache
def _first(symbol: str) -> tuple[tuple[Opening, ...], tuple[tuple[str, ...], ...]]:
    """What a symbol may begin with, and the notes on the ways in which it derives nothing."""
    if is_note(symbol):
        return (), ((symbol,),)
    if symbol not in RULES:
        return (((), symbol, ()),), ()
    found: dict[Opening, None] = {}
    empty: dict[tuple[str, ...], None] = {}
    for production in RULES[symbol]:
        found.update(dict.fromkeys(openings(production[::-1])))
        paths: Sequence[tuple[str, ...]] = [()]
        for part in production:
            paths = [(*path, *notes) for path in paths for notes in _first(part)[1]] if paths else []
        empty.update(dict.fromkeys(paths))
    return tuple(found), tuple(empty)


_MANY = 10_000
_OF_A_QUERY = {"@open": 6, "@open_one": 8}
"""A SELECT needs this much more than its rules say: FROM, or a column that says what FROM is."""


class Shortest:
    """The fewest tokens that symbols can be written in, as far as the rules know."""

    def __init__(self, lengths: Mapping[str, int]) -> None:
        """`lengths` are the tokens of each lexeme, and of a class if it is not one, or three for a literal."""
        self._of = {**dict.fromkeys(CLASSES, 1), "STRING": 3, "NUMBER": 2, "INTEGER": 2, **lengths}
        self._settle(self._of, lambda production: sum(map(self._tokens, production)))
        columns = {name: self._of[name] for name in ("COLUMN", "OWN_COLUMN")}
        self._settle(columns, lambda production: self._with_column(production, columns))
        self._named = {name for name, tokens in columns.items() if tokens == self._of[name]}

    def tokens(self, stack: Iterable[str]) -> int:
        return sum(map(self._tokens, stack))

    def names_column(self, stack: Iterable[str]) -> bool:
        """Whether a way that short has a column in it."""
        return any(symbol in self._named for symbol in stack)

    def _tokens(self, symbol: str) -> int:
        return _OF_A_QUERY.get(symbol, 0) if is_note(symbol) else self._of.get(symbol, _MANY)

    def _with_column(self, production: Production, columns: dict[str, int]) -> int:
        tokens = [self._tokens(symbol) for symbol in production]
        more = [columns.get(symbol, _MANY) - n for symbol, n in zip(production, tokens, strict=True)]
        return sum(tokens) + min(more, default=_MANY)

    @staticmethod
    def _settle(known: dict[str, int], measure: Callable[[Production], int]) -> None:
        changed = True
        while changed:
            changed = False
            for name, productions in RULES.items():
                best = min(map(measure, productions))
                if best < known.get(name, _MANY):
                    known[name], changed = best, True
