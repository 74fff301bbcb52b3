"""Names as the database spells them: SQLite takes a name in any case, and a quoted name that is none for a text."""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import traverse_scope

from corpus.schema import Schema

from .kinds import kind_of_declared, type_name


def resolve(tree: exp.Expr, schema: Schema, types: Mapping[tuple[str, str], str], dialect: str) -> exp.Expr:
    """`tree` with each column under its table, each name as the database spells it, and types noted on the nodes.

    Raises SqlglotError where a statement is no sense in this schema.
    """
    _texts_in_double_quotes(tree, schema)
    titles = _titles(tree)
    known: dict[str, object] = {
        table.name.lower(): {
            column.name.lower(): type_name(
                kind_of_declared(types.get((table.name, column.name), ""), dialect)
            )
            for column in table.columns
        }
        for table in schema.tables
    }
    tree = qualify(
        tree, dialect="sqlite", schema=known, expand_stars=False, validate_qualify_columns=False,
        quote_identifiers=False, canonicalize_table_aliases=False,
    )  # fmt: skip
    tree = annotate_types(tree, schema=known, dialect="sqlite")
    _spell(tree, schema)
    _entitle(tree, titles)
    return tree


def _texts_in_double_quotes(tree: exp.Expr, schema: Schema) -> None:
    names = {column.name.casefold() for _, column in schema.columns()} | {"rowid", "oid", "_rowid_"}
    names |= {
        alias.alias.casefold() for alias in tree.find_all(exp.Alias, exp.TableAlias, exp.CTE) if alias.alias
    }
    names |= {one.name.casefold() for alias in tree.find_all(exp.TableAlias) for one in alias.columns}
    for column in list(tree.find_all(exp.Column)):
        name = column.this
        if (
            isinstance(name, exp.Identifier)
            and name.args.get("quoted")
            and not column.table
            and name.name.casefold() not in names
        ):
            column.replace(exp.Literal.string(name.name))


def _spell(tree: exp.Expr, schema: Schema) -> None:
    spelt: dict[str, str] = {}
    for _, own in schema.columns():
        spelt.setdefault(own.name.lower(), own.name)
    for scope in traverse_scope(tree):
        for column in scope.columns:
            source = scope.sources.get(column.table)
            if isinstance(source, exp.Table):
                found = schema.column(source.name, column.name)
                if found is not None:
                    column.set("this", exp.to_identifier(found.name, quoted=True))
            elif not column.table and column.name in spelt and not _is_alias(column):
                column.set("this", exp.to_identifier(spelt[column.name], quoted=True))
    ctes = {cte.alias for cte in tree.find_all(exp.CTE)}
    for table in tree.find_all(exp.Table):
        real = schema.table(table.name)
        if real is not None and table.name not in ctes:
            table.set("this", exp.to_identifier(real.name, quoted=True))
            table.set("db", None)
    for using in tree.find_all(exp.Join):
        for name in using.args.get("using") or ():
            if isinstance(name, (exp.Identifier, exp.Column)) and name.name in spelt:
                name.replace(exp.to_identifier(spelt[name.name], quoted=True))


def _is_alias(column: exp.Column) -> bool:
    select = column.find_ancestor(exp.Select, exp.SetOperation)
    return isinstance(select, (exp.Select, exp.SetOperation)) and any(
        isinstance(one, exp.Alias) and one.alias == column.name and not isinstance(one.this, exp.Column)
        for one in select.selects
    )


def _titles(tree: exp.Expr) -> list[str | None]:
    """What SQLite calls the columns of the answer, nearly."""
    if not isinstance(tree, exp.Query):
        return []
    return [None if one.is_star else one.alias_or_name or one.sql(dialect="sqlite") for one in tree.selects]


def _entitle(tree: exp.Expr, titles: list[str | None]) -> None:
    """Call the columns of the answer so, and what mentions them too."""
    if not isinstance(tree, exp.Query) or len(tree.selects) != len(titles):
        return
    renamed: dict[str, str] = {}
    for one, title in zip(tree.selects, titles, strict=True):
        if isinstance(one, exp.Alias) and title and one.alias != title and titles.count(title) == 1:
            renamed[one.alias] = title
            one.set("alias", exp.to_identifier(title, quoted=True))
    for key in ("order", "group", "having"):
        clause = tree.args.get(key)
        for column in clause.find_all(exp.Column) if clause is not None else ():
            if not column.table and column.name in renamed:
                column.set("this", exp.to_identifier(renamed[column.name], quoted=True))
