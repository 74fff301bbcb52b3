"""`suresql eval`: execution accuracy and how well the confidence knows it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .output import console, errors, number, print_json, table_of

MAX_DATABASES, WORST_DATABASES = 30, 15  # shown all; else so many of the worst


def evaluate(
    file: Annotated[
        Path,
        typer.Argument(help="JSON lines of {id, question, sql, db_id}; sql may be null.", show_default=False),
    ],
    db_root: Annotated[Path, typer.Option(help="Folder with <db_id>.sqlite.", show_default=False)],
    predictions: Annotated[
        Path, typer.Option(help="Where to write a line for each; what it holds is overwritten.")
    ] = Path("predictions.jsonl"),
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from what the file of predictions holds.")
    ] = False,
    checkpoint: Annotated[str | None, typer.Option(help="Folder of the model.", show_default=False)] = None,
    limit: Annotated[
        int | None, typer.Option(help="Only the first so many.", min=1, show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the metrics as JSON alone.")] = False,
) -> None:
    """Measure accuracy and confidence on questions with known SQL: in all, by hardness (Spider's) and by database.

    A wrong answer is counted under the first thing in which its SQL differs from the known SQL.

    [bold]Examples[/bold]

      suresql eval dev.jsonl --db-root databases --predictions out.jsonl

      suresql eval dev.jsonl --db-root databases --predictions out.jsonl --resume

      suresql eval dev.jsonl --db-root databases --limit 100 --json
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from ..errors import EvaluationError
    from ..settings import load_settings

    settings = load_settings(checkpoint=checkpoint)
    if not file.is_file():
        raise EvaluationError(f"There is no file {file}.", "Give a JSON-lines file of questions.")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, transient=True) as progress:
        task = progress.add_task("Loading the model", total=None)
        from .. import evaluation
        from ..assembly import load_pipeline

        pipeline = load_pipeline(settings)

        def show(done: int, total: int) -> None:
            progress.update(task, description="Asking", completed=done, total=total)

        found = evaluation.evaluate(
            pipeline,
            file,
            db_root,
            predictions,
            resume=resume,
            progress=show,
            limit=limit,
            timeout_s=settings.sql_timeout_s,
        )
    if as_json:
        print_json(found)
    else:
        show_metrics(found)
        console.print(f"Predictions are in {predictions}.", markup=False, soft_wrap=True)


def show_metrics(found: dict[str, Any]) -> None:
    """The metrics as tables: of the confidence, of each signal, and where they are there the breakdown's."""
    plain = [[name, number(value)] for name, value in found.items() if not isinstance(value, dict)]
    console.print(table_of(["metric", "value"], plain))
    signals = [
        [name, number(one["auroc"]), one["measured"]] for name, one in found.get("signals", {}).items()
    ]
    if signals:
        console.print(table_of(["signal", "AUROC", "measured"], signals))
    if "by_hardness" in found:
        _show_shares("hardness", found["by_hardness"])
        _show_errors(found["by_error"])
        _show_databases(found["by_database"])


def _show_shares(name: str, shares: dict[str, dict[str, Any]], title: str = "") -> None:
    rows = [[key, one["n"], number(one["accuracy"])] for key, one in shares.items()]
    if rows:
        console.print(table_of([name, "questions", "accuracy"], rows, title))


def _show_errors(counts: dict[str, int]) -> None:
    """The kinds that there are, the most frequent first, each with its share of the wrong answers."""
    wrong = sum(counts.values())
    found = sorted((item for item in counts.items() if item[1]), key=lambda item: -item[1])
    if found:
        rows = [[kind.replace("_", " "), count, f"{count / wrong:6.1%}"] for kind, count in found]
        console.print(table_of(["kind of error", "answers", "share"], rows))


def _show_databases(shares: dict[str, dict[str, Any]]) -> None:
    """All databases, the worst first, or only the worst of many."""
    worst = sorted(shares.items(), key=lambda item: (item[1]["accuracy"], -item[1]["n"], item[0]))
    shown, title = worst, ""
    if len(worst) > MAX_DATABASES:
        shown, title = worst[:WORST_DATABASES], f"The worst {WORST_DATABASES} of {len(worst)} databases"
    _show_shares("database", dict(shown), title)
