"""The first wall before a database: one statement that reads, made of parts that we know.

An allow-list on sqlglot's tree, so what a new version of a database or parser adds is refused until somebody
has looked at it. Whatever the parser and the database read differently passes it; `serving.execution` is the
second wall and does not rely on this one. For PostgreSQL and DuckDB the tree is also what is run, written anew: `translation`.
"""

from __future__ import annotations

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.tokens import Token, TokenType

from .allowed import NODES, TYPES
from .allowed_names import DIALECTS, FUNCTIONS, TABLE_FUNCTIONS, readable_table
from .errors import GuardError
from .parsing import Confused, parse

MAX_SQL_CHARS = 10_000
MAX_DEPTH = 40  # of parentheses and CASE; sqlglot and SQLite both recurse
MAX_EXPANDED_CTES = 64  # SQLite copies a WITH member at every mention, where no time limit holds

_FIRST_TOKENS = frozenset({TokenType.SELECT, TokenType.WITH, TokenType.L_PAREN})
_TEXTS = frozenset(
    {
        TokenType.VAR, TokenType.STRING, TokenType.IDENTIFIER, TokenType.COMMENT, TokenType.HEREDOC_STRING,
        TokenType.NATIONAL_STRING, TokenType.UNICODE_STRING, TokenType.RAW_STRING,
    }
)  # fmt: skip
_QUERIES = (exp.Select, exp.SetOperation, exp.Subquery)
_HINT = "Send one SELECT (WITH and UNION are fine) over the database's own tables."


def check(sql: str, dialect: str = "sqlite", tables: frozenset[str] | None = None) -> exp.Expr:
    """The tree of `sql` if it is one reading statement of known parts. Raises GuardError, saying why not.

    With `tables`, their names with case folded, it may read no others.
    """
    if dialect not in DIALECTS:
        raise GuardError(
            f"There is no allow-list for the dialect {dialect!r}.", f"There is one for {', '.join(DIALECTS)}."
        )
    _check_text(sql)
    tokens = _tokens(sql, dialect)
    _check_tokens(tokens)
    try:
        trees = [tree for tree in parse(sql, tokens, dialect) if not _is_empty(tree)]
    except SqlglotError as error:
        raise GuardError(f"The SQL does not parse: {_first_line(error)}", _HINT) from error
    except RecursionError as error:
        raise GuardError("The SQL is nested too deeply.", "Flatten it.") from error
    except Confused as error:
        raise GuardError(
            "The SQL can be read in so many ways that the parser gave up.",
            "Write each join's ON after it, and nest less.",
        ) from error
    except (
        AttributeError,
        KeyError,
        IndexError,
        TypeError,
        ValueError,
    ) as error:  # of a parser put to odd text
        raise GuardError(
            "The SQL does not parse: it confuses the parser.", "Write it more plainly."
        ) from error
    if len(trees) != 1:
        raise GuardError(f"There are {len(trees)} statements; one is run at a time.", _HINT)
    tree = trees[0]
    if tree is None or not isinstance(tree, _QUERIES):
        raise GuardError("The statement is no SELECT, which is all that is run.", _HINT)
    check_tree(tree, dialect, tables)
    return tree


def check_tree(tree: exp.Expr, dialect: str, tables: frozenset[str] | None = None) -> None:
    """Raise GuardError unless every node of `tree` may be run in `dialect`; with `tables`, on those and its own WITH members."""
    wall = _Wall(dialect, tables, tree)
    for node in tree.walk():
        wall.check_node(node)
    _check_expansion(tree)


def _check_text(sql: str) -> None:
    if len(sql) > MAX_SQL_CHARS:
        raise GuardError(
            f"The SQL has {len(sql):,} characters; {MAX_SQL_CHARS:,} is the most that is taken.",
            "Shorten it.",
        )
    if not sql.strip():
        raise GuardError("The SQL is empty.", _HINT)
    if "\x00" in sql:
        raise GuardError("The SQL has a NUL character.", "Remove it.")
    try:
        sql.encode()
    except UnicodeEncodeError as error:
        raise GuardError(
            "The SQL has half a surrogate pair, which is no Unicode text.", "Send UTF-8."
        ) from error


def _tokens(sql: str, dialect: str) -> list[Token]:
    try:
        return sqlglot.tokenize(sql, dialect=dialect)
    except SqlglotError as error:
        raise GuardError(
            f"The SQL cannot be read: {_first_line(error)}", "Is a quote or a comment left open?"
        ) from error


def _check_tokens(tokens: list[Token]) -> None:
    """Refuse by the first word and by nesting, before a parser recurses over it."""
    if not tokens:
        raise GuardError("The SQL is empty but for comments.", _HINT)
    first = next((token for token in tokens if token.token_type is not TokenType.L_PAREN), tokens[0])
    if first.token_type not in _FIRST_TOKENS:
        raise GuardError(f"The statement starts with {first.text[:40]!r}; only a SELECT is run.", _HINT)
    depth = deepest = brackets = 0
    last = len(tokens) - 1
    for i, token in enumerate(tokens):
        kind = token.token_type
        if (
            kind not in _TEXTS and not token.text.isascii()
        ):  # sqlglot reads the long s as an s; SQLite does not
            raise GuardError(f"The keyword {token.text[:40]!r} has a letter that is not ASCII.", "Retype it.")
        if kind in (TokenType.L_PAREN, TokenType.CASE):
            depth += 1
            deepest = max(deepest, depth)
        elif kind in (TokenType.R_PAREN, TokenType.END):
            depth -= 1
        elif kind is TokenType.L_BRACKET:  # a[1][1]... is a level each, and costs their square
            brackets += 1
        elif kind is TokenType.SEMICOLON and i != last:
            raise GuardError("There is more than one statement; one is run at a time.", _HINT)
    if brackets > MAX_DEPTH:
        raise GuardError(
            f"The SQL has {brackets} brackets; {MAX_DEPTH} is the most that is taken.", "Use fewer."
        )
    if deepest > MAX_DEPTH:
        raise GuardError(
            f"The SQL is nested {deepest} deep; {MAX_DEPTH} is the most that is taken.", "Flatten it."
        )


class _Wall:
    """The allow-list of one dialect, for one statement."""

    def __init__(self, dialect: str, tables: frozenset[str] | None, tree: exp.Expr) -> None:
        self._dialect = dialect
        self._nodes = NODES[dialect]
        self._functions = FUNCTIONS[dialect]
        self._tables = tables
        self._members = {cte.alias.casefold() for cte in tree.find_all(exp.CTE)}

    def check_node(self, node: exp.Expr) -> None:
        if isinstance(node, exp.Anonymous):
            self._check_function(node)
        elif isinstance(node, exp.Table):
            self._check_table(node)
        elif isinstance(node, exp.In) and node.args.get("field") is not None:
            self._check_field(node)
        elif isinstance(node, exp.CTE):
            if not readable_table(node.alias, self._dialect):
                raise GuardError(
                    f"A WITH member may not be called {node.alias[:40]!r}.", "Call it otherwise."
                )
        elif type(node) not in self._nodes:
            if isinstance(node, (exp.Placeholder, exp.Parameter)):
                raise GuardError(
                    "The SQL has a parameter without a value.", "Write the value into the statement."
                )
            kind = "function" if isinstance(node, exp.Func) else "construct"
            raise GuardError(f"The {kind} {_name(node)} is not among those that are run.", _HINT)
        elif isinstance(node, exp.DataType) and self._dialect != "sqlite" and node.this not in TYPES:
            raise GuardError(f"The type {_type_name(node)} is not among those that are cast to.", _HINT)

    def _check_function(self, node: exp.Anonymous) -> None:
        name = node.name.lower()
        if name not in self._functions or node.parent.__class__ is exp.Dot:
            raise GuardError(
                f"The function {name[:40]!r} is not among those that are run.",
                "Use the database's ordinary functions.",
            )

    def _check_table(self, node: exp.Table) -> None:
        if isinstance(node.this, exp.Func):
            name = (
                node.this.name.lower() if isinstance(node.this, exp.Anonymous) else _name(node.this).lower()
            )
            if self._dialect != "sqlite" or name not in TABLE_FUNCTIONS:
                raise GuardError(
                    f"The table-valued function {name[:40]!r} is not among those that are run.", _HINT
                )
            return
        if node.args.get("catalog") or node.db.lower() not in (
            "",
            "main" if self._dialect != "postgres" else "public",
        ):
            raise GuardError(
                f"The table {node.name[:40]!r} is in another database ({node.db[:40]!r}).", _HINT
            )
        self._check_name(node.name)

    def _check_field(self, node: exp.In) -> None:
        """In SQLite, `x IN name` reads the table of that name."""
        if self._dialect != "sqlite":
            raise GuardError("After IN stands a name.", "Write a list or a SELECT in parentheses.")
        self._check_name(node.args["field"].name)

    def _check_name(self, table: str) -> None:
        if not readable_table(table, self._dialect):
            raise GuardError(
                f"{table[:40]!r} is a table of the database's own workings, not of its contents.", _HINT
            )
        if self._tables is not None and table.casefold() not in self._tables | self._members:
            raise GuardError(f"There is no table {table[:40]!r} that may be read.", _HINT)


def _check_expansion(tree: exp.Expr) -> None:
    """Refuse WITH members that double at each step: a short text would compile into billions of selects."""
    uses: dict[str, list[str]] = {}
    for cte in tree.find_all(exp.CTE):
        uses.setdefault(cte.alias.lower(), []).extend(table.name.lower() for table in cte.find_all(exp.Table))
    weights: dict[str, int] = {}

    def weight(name: str) -> int:
        if name not in uses:
            return 0
        if name not in weights:
            weights[name] = 1  # what a recursive member counts for while it is being counted
            weights[name] = 1 + sum(weight(used) for used in uses[name] if used != name)
        return weights[name]

    mentions = sum(weight(table.name.lower()) for table in tree.find_all(exp.Table))
    if mentions > MAX_EXPANDED_CTES * max(1, len(uses)):
        raise GuardError(
            "The WITH members mention each other so often that they unfold without bound.", "Simplify it."
        )


def _is_empty(tree: exp.Expr | None) -> bool:
    return tree is None or isinstance(tree, exp.Semicolon)  # nothing, or a comment, after the last semicolon


def _name(node: exp.Expr) -> str:
    return node.name[:40] if isinstance(node, exp.Command) else type(node).__name__.upper()


def _type_name(node: exp.DataType) -> str:
    """Of the outermost type alone: written in full, types nested in types recurse."""
    return str(getattr(node.this, "value", node.this))[:40]


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
