"""SQL into text over references, and back. `unfold(fold(sql))` is the same query; what is not covered raises FoldError."""

import re
from collections.abc import Iterator, Sequence

import sqlglot
from sqlglot import exp
from sqlglot.dialects.sqlite import SQLite

from corpus.contents import normalise
from corpus.errors import FoldError, UnfoldError
from corpus.joins import connect
from corpus.linking import Value
from corpus.references import ANY, EOS, Binding
from corpus.schema import ForeignKey

_REFERENCE = re.compile(r"<([tcv])(\d+)>")
_LIKE_VALUE = re.compile(r"(<%>)?\s*<v(\d+)>\s*(<%>)?")
_PLACEHOLDER = re.compile(r"__([tcv])(\d+)(?:_([01])([01]))?$")
_TOKENS = re.compile(r"'(?:[^']|'')*'|__\w+|\w+(?:\.\d+)?|<>|<=|>=|!=|\|\||[^\w\s]")
_UNKNOWN_TO_SQLGLOT = (
    "ADD CAST CHECK DEFERRABLE IF NOTHING RAISE TRANSACTION TO TABLE INDEX VALUES REFERENCES"
)
_RESERVED = {word for keyword in SQLite.Tokenizer.KEYWORDS for word in keyword.split()} | {
    *_UNKNOWN_TO_SQLGLOT.split()
}
_ALIASES = "abcdefgh"
_TEXT_FUNCTIONS = (exp.TimeToStr, exp.Substring, exp.Date, exp.TsOrDsToDate, exp.Lower, exp.Upper)


def parse(sql: str) -> exp.Query:
    """One SELECT or set operation. Raises FoldError."""
    try:
        tree = sqlglot.parse_one(sql, dialect="sqlite")
    except sqlglot.errors.SqlglotError as error:
        raise FoldError(f"not parsed: {error}") from error
    if not isinstance(tree, exp.Query):
        raise FoldError(f"expected a SELECT, found {type(tree).__name__}")
    return tree


# ---- SQL to references ----


def fold(sql: str, binding: Binding) -> str:
    """SQL as text over the references of `binding`, ending in <eos>. Raises FoldError."""
    tree = parse(sql).copy()
    if tree.find(exp.CTE, exp.Window, exp.Subquery) and any(
        isinstance(s.parent, (exp.From, exp.Join, exp.With)) for s in tree.find_all(exp.Subquery, exp.CTE)
    ):
        raise FoldError("derived tables and WITH are not covered")
    for select in list(tree.find_all(exp.Select)):
        if not select.expressions:
            raise FoldError("a SELECT of nothing")
        _inline_aliases(select)
    scopes = {id(select): _tables_of(select) for select in tree.find_all(exp.Select)}
    used: dict[int, set[str]] = {key: set() for key in scopes}
    columns: list[tuple[exp.Column, str, str, str | None, int]] = []
    for column in list(tree.find_all(exp.Column)):
        if isinstance(column.this, exp.Star):
            continue
        found = _resolve(column, scopes, binding)
        if found is None:  # SQLite reads a double-quoted name that names nothing as a string
            column.replace(exp.Literal.string(column.name))
        else:
            columns.append((column, *found))
    correlated = set()
    for column, table, name, alias, owner in columns:
        here = column.find_ancestor(exp.Select)
        if here is not None and id(here) != owner:
            correlated.add(id(here))  # a column of an outer query: what is left out of FROM could not be told
            if any(name.casefold() == table.casefold() for _, name in scopes[id(here)]):
                raise FoldError("a query inside a query on the same table, tied to it, is not covered")
        if column.find_ancestor(exp.Join) is None:
            used[owner].add(table)
        reference = binding.column_reference(table, name)
        if reference is None:
            raise FoldError(f"{table}.{name} is not in the prompt")
        column.replace(exp.column(_placeholder(reference), table=alias))
    for literal in list(tree.find_all(exp.Literal)):
        _fold_literal(literal, binding)
    for select in list(tree.find_all(exp.Select)):
        _fold_from(
            select, scopes[id(select)], set() if id(select) in correlated else used[id(select)], binding
        )
    return _spell(tree.sql(dialect="sqlite")) + EOS


def _inline_aliases(select: exp.Select) -> None:
    aliases = {}
    for projection in list(select.expressions):
        if isinstance(projection, exp.Alias):
            aliases[projection.alias.casefold()] = projection.this.copy()
            projection.replace(projection.this)
    if not aliases:
        return
    for part in ("order", "having", "group"):
        clause = select.args.get(part)
        for column in list(clause.find_all(exp.Column)) if clause else []:
            if not column.table and column.name.casefold() in aliases:
                column.replace(aliases[column.name.casefold()].copy())


def _tables_of(select: exp.Select) -> list[tuple[str, str]]:
    """(alias or name, table) of each source, in order."""
    sources = []
    from_ = select.args.get("from_")
    nodes: list[exp.Expression] = [from_.this] if from_ else []
    nodes += [join.this for join in select.args.get("joins") or []]
    for node in nodes:
        if not isinstance(node, exp.Table):
            raise FoldError("only tables are covered in FROM")
        sources.append((node.alias_or_name.casefold(), node.name))
    return sources


def _enclosing(node: exp.Expression) -> Iterator[exp.Select]:
    here = node.find_ancestor(exp.Select)
    while here is not None:
        yield here
        here = here.find_ancestor(exp.Select)


def _resolve(
    column: exp.Column, scopes: dict[int, list[tuple[str, str]]], binding: Binding
) -> tuple[str, str, str | None, int] | None:
    schema = binding.schema
    for select in _enclosing(column):
        sources = scopes[id(select)]
        for alias, table in sources:
            if column.table and column.table.casefold() != alias:
                continue
            found = schema.column(table, column.name)
            if found is not None:
                twice = sum(t.casefold() == table.casefold() for _, t in sources) > 1
                shown = _ALIASES[[a for a, _ in sources].index(alias)] if twice else None
                return table, found.name, shown, id(select)
    if column.this.args.get("quoted") and not column.table:
        return None
    raise FoldError(f"column {column.sql()} is of no table of its query")


def _fold_literal(literal: exp.Literal, binding: Binding) -> None:
    text = literal.this
    if isinstance(literal.parent, (exp.Limit, exp.Offset)) and text == "1":
        return
    function = literal.parent if isinstance(literal.parent, (exp.Func, exp.Anonymous)) else None
    if function is not None and not isinstance(function, (exp.In, exp.Sum, exp.Count)):
        return
    core, head, tail = text, "", ""
    if isinstance(literal.parent, exp.Like) and literal.is_string:
        core = text.strip("%")
        head, tail = str(int(text.startswith("%"))), str(int(text.endswith("%") and len(text) > 1))
    for i, value in enumerate(binding.values):
        if _stands_for(value, core, literal):
            literal.replace(exp.column(f"__v{i}_{head}{tail}" if head else f"__v{i}"))
            return


def _stands_for(value: Value, text: str, literal: exp.Literal) -> bool:
    if value.month is not None and value.month == text:
        return True
    if value.number is not None:
        try:
            return float(value.number) == float(text) and (not literal.is_string or value.number == text)
        except ValueError:
            return False
    return normalise(value.text) == normalise(text) or any(
        normalise(v) == normalise(text) for v in value.places.values()
    )


def _fold_from(select: exp.Select, sources: list[tuple[str, str]], used: set[str], binding: Binding) -> None:
    tables = [table for _, table in sources]
    joins = select.args.get("joins") or []
    if any(join.args.get("on") is None for join in joins):
        raise FoldError("joins without a condition (commas, CROSS, USING, NATURAL) are not covered")
    if len({t.casefold() for t in tables}) < len(tables) or any(join.side for join in joins):
        _fold_sources(select, sources, binding)
        return
    whole = connect(binding.schema, tables)
    by_keys = (
        whole is not None and len(whole[0]) == len(tables) and _same_conditions(joins, whole[1], binding)
    )
    if joins and not by_keys:
        _fold_sources(select, sources, binding)
        return
    inferred = connect(binding.schema, used) if used else None
    select.set("joins", [])
    if inferred is not None and {t.casefold() for t in inferred[0]} == {t.casefold() for t in tables}:
        select.set("from_", None)
        return
    ordered = [t for t in binding.tables if t.casefold() in {x.casefold() for x in tables}]
    references = [_need(binding.table_reference(t), t) for t in ordered]
    if len(references) != len(tables):
        raise FoldError("a table of FROM is not in the prompt")
    if not references:
        raise FoldError("a query without FROM is not covered")
    select.set("from_", exp.From(this=exp.to_table(_placeholder(references[0]))))
    select.set("joins", [exp.Join(this=exp.to_table(_placeholder(r))) for r in references[1:]])


def _fold_sources(select: exp.Select, sources: list[tuple[str, str]], binding: Binding) -> None:
    tables = [t.casefold() for _, t in sources]
    from_ = select.args["from_"]
    for i, (holder, (_, table)) in enumerate(
        zip([from_, *(select.args.get("joins") or [])], sources, strict=True)
    ):
        node = exp.to_table(_placeholder(_need(binding.table_reference(table), table)))
        if tables.count(table.casefold()) > 1:
            node.set("alias", exp.TableAlias(this=exp.to_identifier(_ALIASES[i])))
        holder.set("this", node)


def _same_conditions(joins: list[exp.Join], keys: list[ForeignKey], binding: Binding) -> bool:
    """Whether the joins' conditions are these keys, whichever side stands first."""
    reference = binding.column_reference
    wanted = {frozenset((reference(k.table, k.column), reference(k.ref_table, k.ref_column))) for k in keys}
    found = set()
    for join in joins:
        on = join.args.get("on")
        for part in on.flatten() if isinstance(on, exp.And) else [on]:
            sides = [part.this, part.expression] if isinstance(part, exp.EQ) else []
            if not sides or not all(isinstance(side, exp.Column) for side in sides):
                return False
            found.add(frozenset(_reference(side.name) for side in sides))
    return found == wanted


def _need(reference: str | None, name: str) -> str:
    if reference is None:
        raise FoldError(f"{name} is not in the prompt")
    return reference


def _placeholder(reference: str) -> str:
    return "__" + reference[1:-1]


def _reference(placeholder: str) -> str:
    return f"<{placeholder[2:]}>"


def _spell(sql: str) -> str:
    """One spelling: lower-case words, a space before each, none around references."""
    parts = []
    for token in _TOKENS.findall(sql):
        match = _PLACEHOLDER.match(token)
        if match:
            kind, number, head, tail = match.groups()
            core = f"<{kind}{number}>"
            parts.append(f"{ANY if head == '1' else ''}{core}{ANY if tail == '1' else ''}" if head else core)
        else:
            parts.append(" " + (token if token.startswith("'") else token.lower()))
    return "".join(parts)


# ---- references to SQL ----


def unfold(text: str, binding: Binding) -> str:
    """SQL that `text` (a model's target) stands for. Raises UnfoldError where there is none."""
    text = text.split(EOS)[0]
    likes = _LIKE_VALUE.sub(
        lambda m: f" __v{m[2]}" + (f"_{int(bool(m[1]))}{int(bool(m[3]))} " if m[1] or m[3] else " "), text
    )
    spelled = _REFERENCE.sub(lambda m: f" __{m[1]}{m[2]} ", likes)
    try:
        tree = sqlglot.parse_one(spelled, dialect="sqlite")
    except sqlglot.errors.SqlglotError as error:
        raise UnfoldError("the model's answer is no SQL") from error
    if not isinstance(tree, exp.Query):
        raise UnfoldError("the model's answer is no SELECT")
    selects = list(tree.find_all(exp.Select))
    for select in selects:
        _unfold_from(select, binding)
    for column in list(tree.find_all(exp.Column)):
        _unfold_column(column, binding)
    for table in list(tree.find_all(exp.Table)):
        if (match := _pending(table)) and match[1] == "t":
            table.set("this", identifier(_at(binding.tables, match[2])))
            table.meta["known"] = True
    for node in tuple(tree.find_all(exp.Column)):  # columns have their places by now, which values go by
        if (match := _pending(node)) and match[1] == "v":
            node.replace(_literal(node, _at(binding.values, match[2]), match))
    named = tree.find_all(exp.Column, exp.Table)
    if any(map(_pending, named)) or any(map(_stray, tree.find_all(exp.Anonymous, exp.Alias, exp.TableAlias))):
        raise UnfoldError("a reference stands where none can")
    for join in tree.find_all(exp.Join):  # sqlglot writes ON TRUE, which a column may be named
        if isinstance(join.args.get("on"), exp.Boolean):
            if join.side:  # LEFT CROSS JOIN is none
                join.set("on", exp.Literal.number(1))
            else:
                join.set("on", None)
                join.set("kind", "CROSS")
    return tree.sql(dialect="sqlite")


def _pending(node: exp.Expr) -> re.Match[str] | None:
    """The reference that a node still is; a name of the database may look like one."""
    return None if node.meta.get("known") else _PLACEHOLDER.match(node.name)


def _stray(node: exp.Expr) -> bool:
    return _PLACEHOLDER.match(node.name or node.alias) is not None


def _own_columns(select: exp.Select) -> Iterator[exp.Column]:
    """Columns of this SELECT, not of one inside it."""
    return (column for column in select.find_all(exp.Column) if column.find_ancestor(exp.Select) is select)


def _unfold_from(select: exp.Select, binding: Binding) -> None:
    joins = select.args.get("joins") or []
    from_ = select.args.get("from_")
    if from_ is None:
        tables = []
        for column in _own_columns(select):
            if (match := _pending(column)) and match[1] == "c":
                tables.append(_at(binding.columns, match[2])[0])
        if not tables:
            raise UnfoldError("neither FROM nor a column says which table is meant")
    elif (
        any(join.args.get("on") or join.side or join.args.get("using") for join in joins) or from_.this.alias
    ):
        return
    else:
        tables = []
        for source in [from_.this, *(join.this for join in joins)]:
            match = _PLACEHOLDER.match(source.name)
            if not match or match[1] != "t":
                raise UnfoldError("FROM names no table")
            tables.append(_at(binding.tables, match[2]))
    found = connect(binding.schema, tables)
    if found is None:
        raise UnfoldError(f"no keys join {', '.join(sorted(set(tables)))}")
    names, keys = found
    select.set("from_", exp.From(this=_known(exp.Table(this=identifier(names[0])))))
    select.set("joins", [])
    for name, key in zip(names[1:], keys, strict=True):
        on = exp.EQ(
            this=_known(exp.Column(this=identifier(key.column), table=identifier(key.table))),
            expression=_known(exp.Column(this=identifier(key.ref_column), table=identifier(key.ref_table))),
        )
        select.append("joins", exp.Join(this=_known(exp.Table(this=identifier(name))), on=on))


def _known(node: exp.Expr) -> exp.Expr:
    node.meta["known"] = True
    return node


def _unfold_column(column: exp.Column, binding: Binding) -> None:
    match = _pending(column)
    if not match:
        return
    if match[1] == "c":
        table, name = _at(binding.columns, match[2])
        select = column.find_ancestor(exp.Select)
        alone = (
            select is not None and not select.args.get("joins") and select.find_ancestor(exp.Select) is None
        )
        column.set("this", identifier(name))
        column.meta.update(place=(table, name), known=True)
        if not column.table and not alone:
            column.set("table", identifier(table))
    elif match[1] == "t":
        raise UnfoldError("a table stands where a column should")


def _literal(node: exp.Column, value: Value, match: re.Match[str]) -> exp.Expression:
    """The value as its neighbours in the comparison want it: the column's own spelling, a text, or a number."""
    beside = _beside(node)
    place = next((part.meta["place"] for part in beside if "place" in part.meta), None)
    with_text = any(isinstance(part, _TEXT_FUNCTIONS) for part in beside)
    text = value.places.get(place, value.text) if place else value.text
    if value.month and with_text:
        return exp.Literal.string(value.month)
    if match[3]:
        return exp.Literal.string(("%" if match[3] == "1" else "") + text + ("%" if match[4] == "1" else ""))
    if value.number is not None and not with_text and place not in value.places:
        return exp.Literal.number(text)
    return exp.Literal.string(text)


def _beside(node: exp.Expression) -> list[exp.Expr]:
    """The other operands of the comparison that `node` stands in, brackets and signs aside."""
    parent: exp.Expr | None = node.parent
    while isinstance(parent, (exp.Paren, exp.Neg)):
        node, parent = parent, parent.parent
    if not isinstance(parent, exp.Predicate):
        return []
    return [part.unnest() for part in parent.iter_expressions() if part is not node]


def _at(items: tuple, number: str):
    if int(number) >= len(items):
        raise UnfoldError("a reference that the prompt does not define")
    return items[int(number)]


def identifier(name: str) -> exp.Identifier:
    """A name, quoted where SQLite or sqlglot would read it otherwise."""
    simple = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) is not None
    return exp.to_identifier(name, quoted=not simple or name.upper() in _RESERVED)


_COMPARED = re.compile(r"<c(\d+)>\s*(?:<>|[<>]=?|=|(?:not )?in \(|between)\s*<v(\d+)>")


_MEMBER = re.compile(r"<c(\d+)>\s*in \( select(?: distinct)?\s*<c(\d+)>")


def grounded(folded: str, binding: Binding) -> bool:
    """Whether every value that stands in some column is compared with a column that holds it, and every column that is
    looked for in a subquery's is that column, its namesake, or tied to it by a key.

    What the contents do not hold (numbers, months, dates, new names) says nothing either way.
    """
    for one, other in _MEMBER.findall(folded):
        if not _same_kind(_at(binding.columns, one), _at(binding.columns, other), binding.schema.joins):
            return False
    for column, value in _COMPARED.findall(folded):
        places = _at(binding.values, value).places
        if (
            places
            and _at(binding.columns, column) not in places
            and binding.values[int(value)].number is None
        ):
            return False
    return True


def _same_kind(one: tuple[str, str], other: tuple[str, str], joins: Sequence[ForeignKey]) -> bool:
    """Whether two columns hold the same things: by name, by a key between them, or by a column that both refer to."""
    if one[1].casefold() == other[1].casefold():
        return True
    keys = {((k.table, k.column), (k.ref_table, k.ref_column)) for k in joins}
    targets = [{place} | {to for of, to in keys if of == place} for place in (one, other)]
    return bool(targets[0] & targets[1])
