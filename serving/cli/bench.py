"""`suresql bench`: the benchmarks, listed or run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .output import console, errors, print_json, table_of


def bench(
    name: Annotated[
        str | None, typer.Argument(help="Which to run; none lists them.", show_default=False)
    ] = None,
    checkpoint: Annotated[str | None, typer.Option(help="Folder of the model.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON alone.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Of an experiment: folder for finished runs and figures.", show_default="bench-out"
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Of an experiment: a small run that shows that it works.")
    ] = False,
    minutes: Annotated[
        float | None, typer.Option(help="Of soak: how long. [default: 10]", show_default=False)
    ] = None,
    plots: Annotated[
        bool,
        typer.Option(
            "--plots/--no-plots",
            "--plot/--no-plot",
            help="Of an experiment: draw figures (needs matplotlib).",
        ),
    ] = True,
) -> None:
    """List the benchmarks, or run one.

    [bold]Examples[/bold]

      suresql bench

      suresql bench demo --json

      suresql bench stability --json --out DIR
    """
    from ..bench import benchmarks, run
    from ..bench.experiment import DEFAULT_OUT, Experiment
    from ..settings import load_settings

    if name is None:
        if as_json:
            print_json([{"name": one.name, "tells": one.tells} for one in benchmarks()])
        else:
            console.print(table_of(["benchmark", "tells"], [[one.name, one.tells] for one in benchmarks()]))
        return
    with errors.status(f"Running {name}…") as status:
        experiment = None
        if out is not None or quick or not plots or name in {b.name for b in benchmarks() if b.experiment}:
            experiment = Experiment(
                out or DEFAULT_OUT, quick, plots, say=lambda text: status.update(f"{name}: {text}")
            )
        found = run(name, load_settings(checkpoint=checkpoint, bench_minutes=minutes), experiment)
    if as_json:
        print_json(found)
    else:
        console.print_json(data=found)
