"""`suresql train`: train a model, as a file says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(
    config: Annotated[Path, typer.Option(help="TOML file of the run.", show_default=False)],
    resume: Annotated[
        bool | None,
        typer.Option(
            "--resume/--fresh", help="Go on from the last checkpoint, or discard it.", show_default=False
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override, as section.key=value; may be repeated.", show_default=False),
    ] = None,
) -> None:
    """Train a model with MuonClip; Ctrl-C stops it resumably.

    On several GPUs: torchrun --nproc-per-node 8 -m optim.train --config FILE

    [bold]Examples[/bold]

      suresql train --config optim/configs/nano-1.toml

      suresql train --config optim/configs/nano-1.toml --resume --set train.steps=20000
    """
    from optim.train import main

    raise typer.Exit(main(config, resume, settings or ()))
