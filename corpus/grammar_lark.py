"""The grammar as text in Lark's notation, for engines elsewhere: of the reference language, or of plain SQL over a schema.

Servers (vLLM's `structured_outputs`, by llguidance) take grammars without context alone, so that what scopes add is missing: of
the text that it lets through, all names exist, every column is one of its table's, and the shape is right; whether FROM has the
table of each column, only `corpus.grammar_tokens` and the database know.
"""

import json
from collections.abc import Callable, Iterable, Sequence

from corpus.fold import identifier
from corpus.grammar import CLASSES, LITERALS, RULES, STATEMENT, is_note
from corpus.references import ANY, Binding
from corpus.schema import Schema

Quote = Callable[[str], str]
_LITERALS = {"NUMBER": r"/ [0-9]+(\.[0-9]+)?/", "INTEGER": "/ [0-9]{1,9}/", "STRING": r"/ '([^'\x00]|'')*'/"}


def reference_lark(binding: Binding) -> str:
    """What a model of ours may write after a prompt; references and the mark of LIKE are special tokens, the end is left out."""
    tables = _choice(f"<t{i}>" for i in range(len(binding.tables)))
    columns = _choice(f"<c{i}>" for i in range(len(binding.columns)))
    values = [f"<v{i}>" for i in range(len(binding.values))]
    aliases = _choice(f'" {letter}"' for letter in "abcdefgh")
    classes = {
        **dict.fromkeys(("COLUMN", "OWN_COLUMN", "ITEM_COLUMN", "RESULT", "ALIASED"), columns),
        **dict.fromkeys(("TABLE", "JOINED", "ALIASING"), tables),
        **dict.fromkeys(("VALUE", "COUNT"), _choice(values) if values else None),
        **dict.fromkeys(("ALIAS", "OWN_ALIAS", "NEW_ALIAS"), aliases),
    }
    return _lark(RULES, classes, lambda lexeme: ANY if lexeme == ANY else json.dumps(lexeme))


def sql_lark(schema: Schema, quote: Quote | None = None) -> str:
    """SELECT statements over the tables and columns of `schema`, for models that write plain SQL.

    Words have one space before them, in capitals or in small letters; columns stand with their table. `quote` writes an
    identifier as the database wants it; without, as SQLite does.
    """
    quote = quote or _quoted
    columns = [f"{quote(t.name)}.{quote(c.name)}" for t, c in schema.columns()]
    table = _choice(json.dumps(" " + quote(t.name), ensure_ascii=False) for t in schema.tables)
    column = _choice(json.dumps(" " + name, ensure_ascii=False) for name in columns)
    classes = {
        **dict.fromkeys(("COLUMN", "OWN_COLUMN", "ITEM_COLUMN", "RESULT"), column),
        **dict.fromkeys(("TABLE", "JOINED"), table),
        **dict.fromkeys(("ALIASED", "ALIASING", "VALUE", "COUNT", "ALIAS", "OWN_ALIAS", "NEW_ALIAS")),
    }
    rules: dict[str, list[tuple[str, ...]]] = {
        **RULES,
        "from": [(" from", "TABLE", "joins")],
        "joins": [(), ("join", "joins")],
        "source": [("JOINED",)],
    }
    return _lark(rules, classes, _either_case)


def _lark(
    rules: dict[str, list[tuple[str, ...]]], classes: dict[str, str | None], spell: Callable[[str], str]
) -> str:
    """Rules that cannot be written, for want of values, say, are left out, and so is what needs them.

    Raises ValueError where no statement is left.
    """
    written: dict[str, str | None] = {**_LITERALS, **classes}
    out = {name for name in CLASSES if written.get(name) is None}
    while True:
        left = {
            name: [one for one in productions if not out & set(one)]
            for name, productions in rules.items()
            if name not in out
        }
        empty = {name for name, productions in left.items() if not productions}
        if not empty:
            break
        out |= empty
    if STATEMENT[-1] not in left:
        raise ValueError("the schema has no table with a column: there is nothing to select")
    lines = [f"start: {STATEMENT[-1]}"]
    waiting, seen = [STATEMENT[-1]], set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in CLASSES:
            lines.append(f"{name if name in LITERALS else name.lower()}: {written[name]}")
            continue
        texts = []
        for production in left[name]:
            symbols = [symbol for symbol in production if not is_note(symbol)]
            waiting += [symbol for symbol in symbols if symbol in left or symbol in CLASSES]
            texts.append(" ".join(_symbol(symbol, left, spell) for symbol in symbols))
        lines.append(f"{_rule(name)}: {' | '.join(dict.fromkeys(texts))}")
    return "\n".join(lines) + "\n"


def _symbol(symbol: str, rules: dict[str, list[tuple[str, ...]]], spell: Callable[[str], str]) -> str:
    if symbol in LITERALS:
        return symbol
    if symbol in CLASSES:
        return symbol.lower()
    return _rule(symbol) if symbol in rules else spell(symbol)


def _rule(name: str) -> str:
    """Names that Lark keeps for itself get another."""
    return f"{name}_clause" if name in ("from", "start", "import") else name


def _choice(parts: Iterable[str]) -> str | None:
    found: Sequence[str] = list(dict.fromkeys(parts))
    return " | ".join(found) if found else None


def _either_case(lexeme: str) -> str:
    return json.dumps(lexeme) + ("i" if any(map(str.isalpha, lexeme)) else "")


def _quoted(name: str) -> str:
    return identifier(name).sql(dialect="sqlite")
