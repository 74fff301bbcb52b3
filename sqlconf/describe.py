"""SQL read out in English, by rules over sqlglot's tree, so that its meaning can be compared with a person's
question.

    SELECT name FROM suppliers WHERE country = 'Germany' ORDER BY rating DESC LIMIT 3
    the name of suppliers whose country is Germany, with the highest rating first, top 3

How well this tells the right SQL from a wrong one is measured by `python -m sqlconf.discrimination`; the
wording follows it.
"""

from collections.abc import Iterator

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from sqlconf.naming import humanise, listed, plural, singular
from sqlconf.phrases import Scope, condition, is_text, is_time, value
from sqlconf.signal import ColumnView, SchemaView

_SET_WORDS: dict[type[exp.Expr], str] = {
    exp.Union: "or",
    exp.Intersect: "and also",
    exp.Except: "but not",
}
_HAVING: dict[type[exp.Expr], str] = {
    exp.GT: "more than",
    exp.GTE: "at least",
    exp.LT: "fewer than",
    exp.LTE: "at most",
    exp.EQ: "exactly",
}


def describe(sql: str, schema: SchemaView | None = None, dialect: str = "sqlite") -> str | None:
    """The SQL in words; None where it does not parse. The schema, if given, lends names their spelling and
    types.
    """
    try:
        statements = [tree for tree in sqlglot.parse(sql, read=dialect) if tree is not None]
    except (SqlglotError, RecursionError):
        return None
    if not statements:
        return None
    reader = _Reader(schema)
    try:
        return "; then ".join(reader.statement(tree) for tree in statements)
    except RecursionError:  # parsed, but too deep to walk: its names are still words
        return humanise(sql)


class _Reader:
    def __init__(self, schema: SchemaView | None):
        self.schema = schema
        tables = schema.tables if schema else ()
        self.columns: dict[str, ColumnView] = {c.name.casefold(): c for t in tables for c in t.columns}
        self.spelling = {table.name.casefold(): table.name for table in tables}

    def statement(self, tree: exp.Expr) -> str:
        if isinstance(tree, exp.Query):
            return self.query(tree)
        names = [plural(self.noun(table.name)) for table in tree.find_all(exp.Table)]
        return f"{humanise(tree.key)} {listed(list(dict.fromkeys(names)))}".strip()

    def query(self, tree: exp.Expr) -> str:
        words = self._body(tree)
        for cte in tree.args["with_"].expressions if tree.args.get("with_") else ():
            words += f", where {plural(self.noun(cte.alias))} are {self.query(cte.this)}"
        return words

    def _body(self, tree: exp.Expr) -> str:
        match tree:
            case exp.Select():
                return self.select(tree)
            case exp.SetOperation():
                both = _joined(
                    self.query(tree.this), _SET_WORDS.get(type(tree), "and"), self.query(tree.expression)
                )
                return both + self._order_and_limit(tree, Scope(self.query, columns=self.columns))
            case exp.Subquery() | exp.Paren():
                return self.query(tree.this)
            case exp.Table():
                return plural(self.noun(tree.name))
        return value(tree, Scope(lambda inner: inner.key, columns=self.columns))

    def select(self, tree: exp.Select) -> str:
        sources = list(_sources(tree))
        scope = self._scope(tree, sources)
        group = tree.args["group"].expressions if tree.args.get("group") else []
        items = [item.unalias() for item in tree.expressions]
        shown = [item for item in items if item not in group] or items
        words = listed([value(item, scope) for item in shown]) or "nothing"
        if tree.args.get("distinct"):
            words = "different " + words
        if shown and not shown[0].is_star and not isinstance(shown[0], exp.Literal | exp.Case):
            words = "the " + words
        words += self._of(sources, words)
        if tree.args.get("where"):
            words += self._whose(tree.args["where"].this, scope)
        if group and shown is not items:
            words += " for each " + listed([_each(item, scope) for item in group])
        if tree.args.get("having"):
            words += self._having(tree.args["having"].this, scope)
        return words + self._order_and_limit(tree, scope)

    def noun(self, table: str) -> str:
        return singular(humanise(self.spelling.get(table.casefold(), table)))

    def _scope(self, tree: exp.Select, sources: list[exp.Expr]) -> Scope:
        nouns = {}
        for source in sources:
            noun = self.noun(source.name) if isinstance(source, exp.Table) else "result"
            nouns[source.alias_or_name.casefold()] = noun
        counted = self._counted(tree, sources)
        return Scope(self.query, nouns, self.columns, counted, qualified=len(sources) > 1)

    def _counted(self, tree: exp.Select, sources: list[exp.Expr]) -> str:
        """What one row of the FROM is: the table that refers to the others, else the one not grouped by."""
        tables = [source for source in sources if isinstance(source, exp.Table)]
        if not tables:
            return "results"
        names = {table.name.casefold() for table in tables}
        keys = self.schema.foreign_keys if self.schema else ()
        links = {(key.table.casefold(), key.ref_table.casefold()) for key in keys}
        referred = {to for start, to in links if start != to and start in names}
        many = [table for table in tables if table.name.casefold() not in referred]
        if len(many) != 1:
            group = tree.args.get("group")
            owners = {column.table.casefold() for column in group.find_all(exp.Column)} if group else set()
            many = [t for t in many or tables if t.alias_or_name.casefold() not in owners] or tables
        return plural(self.noun(many[0].name))

    def _of(self, sources: list[exp.Expr], said: str) -> str:
        """of singers; of a join, only the tables that the selected columns do not name yet."""
        phrases = []
        for source in sources:
            if not isinstance(source, exp.Table):
                phrases.append(value(source, Scope(self.query)))
                continue
            noun = self.noun(source.name)
            names = {plural(noun), noun} if len(sources) > 1 else {plural(noun)}
            if not names & _runs(said):
                phrases.append(plural(noun))
        return f" of {listed(list(dict.fromkeys(phrases)))}" if phrases else ""

    def _whose(self, tree: exp.Expr, scope: Scope) -> str:
        parts = [part for part in _conjuncts(tree) if not _is_join(part)]
        if not parts:
            return ""
        words = condition(exp.and_(*parts, copy=True), scope)
        return f" {'where' if words.startswith('there ') else 'whose'} {words}"

    def _having(self, tree: exp.Expr, scope: Scope) -> str:
        clauses = []
        for part in _conjuncts(tree):
            if isinstance(part.this, exp.Count) and type(part) in _HAVING and not part.find(exp.Query):
                amount = value(part.expression, scope)
                counted = value(part.this, scope).removeprefix("number of ")
                clauses.append(f"having {_HAVING[type(part)]} {amount} {counted}")
            else:
                clauses.append(f"whose {condition(part, scope)}")
        return " " + " and ".join(clauses)

    def _order_and_limit(self, tree: exp.Expr, scope: Scope) -> str:
        limit = tree.args.get("limit")
        top = value(limit.expression, scope) if limit is not None and limit.expression is not None else ""
        order = tree.args.get("order")
        keys = [self._key(item, scope, top) for item in order.expressions] if order else []
        words = ", with the " + listed(keys, "and then the") if keys else ""
        if keys and top != "1":
            words += " first"
        if top and not (keys and top == "1"):
            words += f", top {top}"
        return words

    def _key(self, item: exp.Expr, scope: Scope, top: str) -> str:
        down = bool(item.args.get("desc"))
        if isinstance(item.this, exp.Count):
            return f"{'most' if down else 'fewest'} {value(item.this, scope).removeprefix('number of ')}"
        words = value(item.this, scope)
        if is_time(item.this, scope):
            return f"{'latest' if down else 'earliest'} {words}"
        if is_text(item.this, scope) and top != "1":
            return f"alphabetically {'last' if down else 'first'} {words}"
        return f"{'highest' if down else 'lowest'} {words}"


def _sources(tree: exp.Select) -> Iterator[exp.Expr]:
    if tree.args.get("from_"):
        yield tree.args["from_"].this
    for join in tree.args.get("joins") or ():
        yield join.this


def _conjuncts(tree: exp.Expr) -> list[exp.Expr]:
    return list(tree.flatten()) if isinstance(tree, exp.And) else [tree]


def _is_join(node: exp.Expr) -> bool:
    """a.x = b.y of a comma join says how rows meet, not which are wanted."""
    sides = (node.this, node.expression) if isinstance(node, exp.EQ) else ()
    return (
        len(sides) == 2
        and all(isinstance(s, exp.Column) and s.table for s in sides)
        and sides[0].table != sides[1].table
    )


def _each(key: exp.Expr, scope: Scope) -> str:
    """What a group is: grouped by an id, it is the thing that the id names."""
    words = value(key, scope)
    return words.removesuffix(" id")


def _joined(left: str, word: str, right: str) -> str:
    """Two queries as one phrase; what both begin with is said once."""
    a, b = left.split(" "), right.split(" ")
    same = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return f"{left} {word} {' '.join(b[same:] if 2 < same < len(b) else b)}"


def _runs(words: str) -> set[str]:
    """Every run of one to four words."""
    tokens = words.replace(",", "").split()
    return {" ".join(tokens[i : i + n]) for n in range(1, 5) for i in range(len(tokens))}
