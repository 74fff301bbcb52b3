"""`suresql questions`: questions in files for `suresql eval`, nearly all of them such as training left out."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .output import console


class Kind(StrEnum):
    """Which questions."""

    DEMO_TEST = "demo-test"
    DEMO_CALIBRATION = "demo-calibration"
    SPIDER_CALIBRATION = "spider-calibration"
    AUTHORED_CALIBRATION = "authored-calibration"
    ATTEMPTS = "attempts"


def questions(
    kind: Annotated[Kind, typer.Argument(help="Which questions.", show_default=False)],
    folder: Annotated[
        Path, typer.Argument(help="Where to write them and their databases.", show_default=False)
    ],
    count: Annotated[int, typer.Option(help="How many, at most.", min=1)] = 200,
    seed: Annotated[int, typer.Option(help="Another seed draws others.")] = 1,
    data: Annotated[
        Path | None, typer.Option(help="Folder of the data sets, for Spider's.", show_default=False)
    ] = None,
) -> None:
    """Write questions that training left out, with their databases, for suresql eval. (Of the kind attempts training may
    see all: a model's answers to them teach the next one to report on itself.)

    [bold]Examples[/bold]

      suresql questions demo-test held-out

      suresql questions authored-calibration held-out

      suresql questions spider-calibration held-out --count 600 --data PATH
    """
    from corpus import held_out
    from corpus.errors import CorpusError

    from ..errors import EvaluationError

    try:
        if kind in (Kind.SPIDER_CALIBRATION, Kind.ATTEMPTS):
            if data is None:
                raise EvaluationError("Spider's databases are not in this package.", "Say --data FOLDER.")
            write = held_out.write_attempts if kind is Kind.ATTEMPTS else held_out.write_spider_calibration
            file = write(folder, data, count, seed)
        elif kind is Kind.AUTHORED_CALIBRATION:
            file = held_out.write_authored_calibration(folder, count, seed)
        else:
            split: held_out.Split = "test" if kind is Kind.DEMO_TEST else "calibration"
            file = held_out.write_demo(folder, split, count, seed)
    except (CorpusError, OSError) as error:
        raise EvaluationError(f"The questions cannot be written: {error}") from error
    console.print(
        f"Written. Measure with:\n  suresql eval {file} --db-root {folder}", markup=False, soft_wrap=True
    )
