"""`suresql db`: the databases that questions can be asked of."""

from __future__ import annotations

from typing import Annotated

import typer

from .output import console, print_json, table_of

app = typer.Typer(help="Register, list and forget databases.", no_args_is_help=True, rich_markup_mode="rich")


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="What to call it.", show_default=False)],
    url: Annotated[str, typer.Argument(help="A path, or sqlite:///path.", show_default=False)],
) -> None:
    """Register a database under a name.

    [bold]Example[/bold]

      suresql db add music ./chinook.sqlite
    """
    database = _databases().add(name, url)
    count = len(database.schema().tables)
    console.print(
        f'Added {name}: {count} tables. Ask it: suresql ask "..." --db {name}', markup=False, soft_wrap=True
    )


@app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="Print JSON alone.")] = False) -> None:
    """List the databases and what is in them."""
    from ..databases import summaries

    databases = _databases()
    lines = [{**line, "path": str(databases.location(line["name"]))} for line in summaries(databases)]
    if as_json:
        print_json(lines)
        return
    rows = [[line["name"], line["path"], line["error"] or ", ".join(line["tables"])] for line in lines]
    console.print(table_of(["name", "file", "tables"], rows))


@app.command()
def remove(name: Annotated[str, typer.Argument(help="Its name.", show_default=False)]) -> None:
    """Forget a database; its file stays."""
    _databases().remove(name)
    console.print(f"Removed {name}; its file is untouched.", markup=False)


def _databases():  # type: ignore[no-untyped-def]
    from ..databases import Databases
    from ..settings import load_settings

    return Databases(load_settings().home)
