"""`suresql bench`: the benchmarks, listed or run."""

from __future__ import annotations

from typing import Annotated

import typer

from .output import console, errors, print_json, table_of


def bench(
    name: Annotated[
        str | None, typer.Argument(help="Which to run; none lists them.", show_default=False)
    ] = None,
    checkpoint: Annotated[str | None, typer.Option(help="Folder of the model.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON alone.")] = False,
) -> None:
    """List the benchmarks, or run one.

    [bold]Examples[/bold]

      suresql bench

      suresql bench demo --json
    """
    from ..bench import benchmarks, run
    from ..settings import load_settings

    if name is None:
        if as_json:
            print_json([{"name": one.name, "tells": one.tells} for one in benchmarks()])
        else:
            console.print(table_of(["benchmark", "tells"], [[one.name, one.tells] for one in benchmarks()]))
        return
    with errors.status(f"Running {name}…"):
        found = run(name, load_settings(checkpoint=checkpoint))
    if as_json:
        print_json(found)
    else:
        console.print_json(data=found)
