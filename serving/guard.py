"""The first wall before a database: one statement that reads, made of parts that we know.

An allow-list on sqlglot's tree, so what a new version of a database or parser adds is refused until somebody has
looked at it. It is passed by whatever the parser and the database read differently; `serving.execution` is the
second wall and does not rely on this one.
"""

from __future__ import annotations

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.tokens import Token, TokenType

from .errors import GuardError

MAX_SQL_CHARS = 10_000
MAX_DEPTH = 40  # of parentheses and CASE; sqlglot and SQLite both recurse
MAX_EXPANDED_CTES = 64  # SQLite copies a WITH member at every mention, while compiling, where no time limit holds

# What SQLite calls its harmless functions. Left out on purpose: load_extension, readfile, writefile, edit,
# fts3_tokenizer, randomblob, zeroblob, sqlite_*, changes, last_insert_rowid, and all we have not heard of.
FUNCTIONS = frozenset(
    """
    -> ->> abs acos acosh asin asinh atan atan2 atanh avg bm25 ceil ceiling char coalesce concat concat_ws cos cosh
    count cume_dist current_date current_time current_timestamp date datetime degrees dense_rank exp first_value floor
    format glob group_concat hex highlight ifnull iif if instr json json_array json_array_length json_each json_extract
    json_group_array json_group_object json_object json_quote json_tree json_type json_valid julianday lag last_value
    lead length like likelihood likely ln log log10 log2 lower ltrim match max min mod nth_value ntile nullif
    octet_length percent_rank pi pow power printf quote radians random rank replace round row_number rtrim sign sin
    sinh snippet soundex sqrt strftime string_agg substr substring sum tan tanh time timediff total trim trunc typeof
    unicode unixepoch unlikely upper
    """.split()
)
_TABLE_FUNCTIONS = frozenset({"json_each", "json_tree"})
_SYSTEM_TABLES = frozenset({"sqlite_master", "sqlite_schema"})
_EPONYMOUS_TABLES = frozenset({"dbstat", "bytecode", "tables_used", "fts3tokenize", "completion", "fsdir", "generate_series"})

_NODES: frozenset[type] = frozenset(
    {
        # clauses
        exp.Select, exp.Union, exp.Intersect, exp.Except, exp.Subquery, exp.With, exp.CTE, exp.From, exp.Join,
        exp.Table, exp.TableAlias, exp.Where, exp.Group, exp.Having, exp.Order, exp.Ordered, exp.Limit, exp.Offset,
        exp.Distinct, exp.Values, exp.Tuple, exp.Window, exp.WindowSpec, exp.Filter,
        # names and values
        exp.Identifier, exp.Column, exp.Alias, exp.Star, exp.Literal, exp.Boolean, exp.Null, exp.HexString, exp.Var,
        exp.Cast, exp.DataType, exp.DataTypeParam, exp.Paren,
        # operators
        exp.And, exp.Or, exp.Not, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Is, exp.NullSafeEQ,
        exp.NullSafeNEQ, exp.In, exp.Between, exp.Exists, exp.Like, exp.Glob, exp.Match, exp.Escape, exp.Add, exp.Sub,
        exp.Mul, exp.Div, exp.Mod, exp.Neg, exp.BitwiseAnd, exp.BitwiseOr, exp.BitwiseNot, exp.BitwiseLeftShift,
        exp.BitwiseRightShift, exp.DPipe, exp.Case, exp.If, exp.Collate,
        # functions that sqlglot knows by a class of their own
        exp.Abs, exp.Acos, exp.Acosh, exp.Asin, exp.Asinh, exp.Atan, exp.Atan2, exp.Atanh, exp.Avg, exp.Ceil, exp.Chr,
        exp.Coalesce, exp.Concat, exp.ConcatWs, exp.Cos, exp.Cosh, exp.Count, exp.CumeDist, exp.CurrentDate,
        exp.CurrentTime, exp.CurrentTimestamp, exp.Date, exp.Degrees, exp.DenseRank, exp.Exp, exp.FirstValue, exp.Floor,
        exp.Format, exp.Greatest, exp.GroupConcat, exp.Hex, exp.JSONArray, exp.JSONExtract, exp.JSONExtractScalar,
        exp.JSONObject, exp.JSONPath, exp.JSONPathKey, exp.JSONPathRoot, exp.JSONPathSubscript, exp.JSONType, exp.Lag,
        exp.LastValue, exp.Lead, exp.Least, exp.Length, exp.Ln, exp.Log, exp.Lower, exp.Max, exp.Min, exp.NthValue,
        exp.Ntile, exp.Nullif, exp.PercentRank, exp.Pi, exp.Pow, exp.Radians, exp.Rand, exp.Rank, exp.Replace,
        exp.Round, exp.RowNumber, exp.Sign, exp.Sin, exp.Sinh, exp.Soundex, exp.Sqrt, exp.StrPosition, exp.Substring,
        exp.Sum, exp.Tan, exp.Tanh, exp.Time, exp.TimeToStr, exp.Trim, exp.Trunc, exp.Typeof, exp.Unicode, exp.Upper,
    }
)  # fmt: skip
_FIRST_TOKENS = frozenset({TokenType.SELECT, TokenType.WITH, TokenType.L_PAREN})
_QUERIES = (exp.Select, exp.SetOperation, exp.Subquery)
_HINT = "Send one SELECT (WITH and UNION are fine) over the database's own tables."


def check(sql: str, dialect: str = "sqlite") -> exp.Expression:
    """The tree of `sql` if it is one reading statement of known parts; otherwise a GuardError that says why not."""
    if dialect != "sqlite":
        raise GuardError(f"There is no allow-list for the dialect {dialect!r}.", "Only sqlite is supported.")
    _check_text(sql)
    tokens = _tokens(sql)
    _check_tokens(tokens)
    try:
        trees = [tree for tree in sqlglot.parse(sql, dialect=dialect) if not _is_empty(tree)]
    except SqlglotError as error:
        raise GuardError(f"The SQL does not parse: {_first_line(error)}", _HINT) from error
    except RecursionError as error:
        raise GuardError("The SQL is nested too deeply.", "Flatten it.") from error
    if len(trees) != 1:
        raise GuardError(f"There are {len(trees)} statements; one is run at a time.", _HINT)
    tree = trees[0]
    if not isinstance(tree, _QUERIES):
        raise GuardError(f"The statement is a {_name(tree)}; only a SELECT is run.", _HINT)
    for node in tree.walk():
        _check_node(node)
    _check_expansion(tree)
    return tree


def _check_text(sql: str) -> None:
    if len(sql) > MAX_SQL_CHARS:
        raise GuardError(f"The SQL has {len(sql):,} characters; {MAX_SQL_CHARS:,} is the most that is taken.", "Shorten it.")
    if not sql.strip():
        raise GuardError("The SQL is empty.", _HINT)
    if "\x00" in sql:
        raise GuardError("The SQL has a NUL character.", "Remove it.")
    try:
        sql.encode()
    except UnicodeEncodeError as error:
        raise GuardError("The SQL has half a surrogate pair, which is no Unicode text.", "Send UTF-8.") from error


def _tokens(sql: str) -> list[Token]:
    try:
        return sqlglot.tokenize(sql, dialect="sqlite")
    except SqlglotError as error:
        raise GuardError(f"The SQL cannot be read: {_first_line(error)}", "Is a quote or a comment left open?") from error


def _check_tokens(tokens: list[Token]) -> None:
    """Refuse by the first word and by nesting, before a parser recurses over it."""
    if not tokens:
        raise GuardError("The SQL is empty but for comments.", _HINT)
    first = next((token for token in tokens if token.token_type is not TokenType.L_PAREN), tokens[0])
    if first.token_type not in _FIRST_TOKENS:
        raise GuardError(f"The statement starts with {first.text[:40]!r}; only a SELECT is run.", _HINT)
    depth = deepest = 0
    last = len(tokens) - 1
    for i, token in enumerate(tokens):
        kind = token.token_type
        if kind in (TokenType.L_PAREN, TokenType.CASE):
            depth += 1
            deepest = max(deepest, depth)
        elif kind in (TokenType.R_PAREN, TokenType.END):
            depth -= 1
        elif kind is TokenType.SEMICOLON and i != last:
            raise GuardError("There is more than one statement; one is run at a time.", _HINT)
    if deepest > MAX_DEPTH:
        raise GuardError(f"The SQL is nested {deepest} deep; {MAX_DEPTH} is the most that is taken.", "Flatten it.")


def _check_node(node: exp.Expression) -> None:
    if isinstance(node, exp.Anonymous):
        _check_function(node)
    elif isinstance(node, exp.Table):
        _check_table(node)
    elif isinstance(node, exp.In) and node.args.get("field") is not None:
        _check_name(node.args["field"].name)  # `x IN name` reads the table of that name
    elif type(node) not in _NODES:
        if isinstance(node, (exp.Placeholder, exp.Parameter)):
            raise GuardError("The SQL has a parameter without a value.", "Write the value into the statement.")
        kind = "function" if isinstance(node, exp.Func) else "construct"
        raise GuardError(f"The {kind} {_name(node)} is not among those that are run.", _HINT)


def _check_function(node: exp.Anonymous) -> None:
    name = node.name.lower()
    if name not in FUNCTIONS:
        raise GuardError(f"The function {name[:40]!r} is not among those that are run.", "Use SQLite's ordinary functions.")


def _check_table(node: exp.Table) -> None:
    if isinstance(node.this, exp.Func):
        name = node.this.name.lower() if isinstance(node.this, exp.Anonymous) else _name(node.this).lower()
        if name not in _TABLE_FUNCTIONS:
            raise GuardError(f"The table-valued function {name[:40]!r} is not among those that are run.", _HINT)
        return
    if node.args.get("catalog") or node.db.lower() not in ("", "main"):
        raise GuardError(f"The table {node.name[:40]!r} is in another database ({node.db[:40]!r}).", _HINT)
    _check_name(node.name)


def _check_name(table: str) -> None:
    if not readable_table(table):
        raise GuardError(f"{table[:40]!r} is a table of SQLite's own, not of the database.", _HINT)


def readable_table(name: str) -> bool:
    """Whether a table of this name may be the database's own (or the catalogue that lists its tables)."""
    lowered = name.lower()
    if lowered in _SYSTEM_TABLES:
        return True
    return not lowered.startswith(("pragma_", "sqlite_")) and lowered not in _EPONYMOUS_TABLES


def _check_expansion(tree: exp.Expression) -> None:
    """Refuse WITH members that double at each step: a few hundred characters can compile into billions of selects."""
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
        raise GuardError("The WITH members mention each other so often that they unfold without bound.", "Simplify it.")


def _is_empty(tree: exp.Expression | None) -> bool:
    return tree is None or isinstance(tree, exp.Semicolon)  # nothing, or a comment, after the last semicolon


def _name(node: exp.Expression) -> str:
    return node.name[:40] if isinstance(node, exp.Command) else type(node).__name__.upper()


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
