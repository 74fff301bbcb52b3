"""`suresql db`: the databases that questions can be asked of."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from .output import console, print_json, table_of

app = typer.Typer(help="Register, list and forget databases.", no_args_is_help=True, rich_markup_mode="rich")


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="What to call it.", show_default=False)],
    url: Annotated[
        str,
        typer.Argument(
            help="A path, sqlite:///path, duckdb:///path, or postgresql://user:password@host/database; '-' reads it from"
            " standard input, so that no history keeps it.",
            show_default=False,
        ),
    ],
) -> None:
    """Register a database under a name.

    [bold]Example[/bold]

      suresql db add music ./chinook.sqlite

      suresql db add sales - < the-url
    """
    database = _databases().add(name, sys.stdin.readline().strip() if url == "-" else url)
    count = len(database.schema().tables)
    console.print(
        f'Added {name}: {count} tables. Ask it: suresql ask "..." --db {name}', markup=False, soft_wrap=True
    )


@app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="Print JSON alone.")] = False) -> None:
    """List the databases and what is in them."""
    from ..databases import summaries

    databases = _databases()
    lines = [{**line, "path": databases.location(line["name"])} for line in summaries(databases)]
    if as_json:
        print_json(lines)
        return
    rows = [[line["name"], line["path"], line["error"] or ", ".join(line["tables"])] for line in lines]
    console.print(table_of(["name", "place", "tables"], rows))


@app.command()
def remove(name: Annotated[str, typer.Argument(help="Its name.", show_default=False)]) -> None:
    """Forget a database; it stays as it is."""
    _databases().remove(name)
    console.print(f"Removed {name}; the database is untouched.", markup=False)


@app.command("reader-role")
def reader_role(
    database: Annotated[str, typer.Argument(help="The PostgreSQL database.", show_default=False)],
    role: Annotated[str, typer.Option(help="What to call the role.")] = "suresql_reader",
    schema: Annotated[str, typer.Option(help="The schema to read.")] = "public",
) -> None:
    """Print statements for psql that make a PostgreSQL role which can read one schema and nothing more.

    [bold]Example[/bold]

      suresql db reader-role sales | psql --dbname sales
    """
    from ..databases import reader_role_sql

    print(reader_role_sql(role, database, schema), end="")


def _databases():  # type: ignore[no-untyped-def]
    from ..databases import Databases
    from ..settings import load_settings

    settings = load_settings()
    return Databases(settings.home, settings.secret)
