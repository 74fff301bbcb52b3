"""`suresql calibrate`: fit the fusion of the signals on judged predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from .output import console, errors, number, print_json, table_of


def calibrate(
    predictions: Annotated[
        list[Path] | None, typer.Argument(help="Files that suresql eval wrote.", show_default=False)
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Without files: the folder of the data sets, to answer calibration questions first.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Where to write it. [default: fusion.json of the checkpoint]", show_default=False),
    ] = None,
    checkpoint: Annotated[str | None, typer.Option(help="Folder of the model.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON alone.")] = False,
) -> None:
    """Fit what turns signals into a probability, on questions that training did not see.

    The calibration belongs to the weights of the checkpoint that made the predictions. With it go promises: from
    which confidence on answers to such questions reach a precision; SURESQL_PRECISION makes the service keep one.

    [bold]Examples[/bold]

      suresql calibrate predictions.jsonl

      suresql calibrate spider.jsonl demo.jsonl --out fusion.json

      suresql calibrate --data PATH
    """
    from ..calibration import calibrate as fit
    from ..calibration import is_ours
    from ..errors import EvaluationError
    from ..settings import load_settings
    from .evaluate import show_metrics

    settings = load_settings(checkpoint=checkpoint)
    ours = is_ours(settings)
    if not ours and out is None and settings.fusion is None:
        raise EvaluationError(
            f"The answers are of {settings.engine_model}, and the checkpoint's calibration is not for them.",
            "Say with --out where to write one, and set SURESQL_FUSION to it when you ask.",
        )
    file = out or settings.default_fusion_file
    if not predictions:
        if data is None:
            raise EvaluationError(
                "There are no predictions to fit on.",
                "Name files that suresql eval wrote, or say --data FOLDER to have questions answered first.",
            )
        from ..recalibration import calibration_answers

        with errors.status("Answering calibration questions…"):
            predictions = calibration_answers(settings, data)
    found = fit(predictions, file, settings.checkpoint if ours else None)
    if as_json:
        print_json({"fusion": str(file), **found})
    else:
        show_metrics({name: value for name, value in found.items() if name not in ("promises", "profiles")})
        _show_profiles(found["profiles"])
        _show_promises(found["promises"])
        console.print(
            f"The figures are of held-out folds. Written to {file}.",
            markup=False,
            soft_wrap=True,
        )


def _show_promises(promises: Sequence[dict[str, Any]]) -> None:
    """At which confidence which precision is promised, and how many labels are wanting where it is not."""
    rows = [
        [f"{one['precision']:g}", number(one["threshold"]), f"{one['coverage']:.0%}", one["note"]]
        for one in promises
    ]
    sure = 1 - promises[0]["delta"]
    new = promises[0]["unit"] == "databases"
    title = f"Promises, each with probability {sure:g}, for questions like these on "
    title += "further databases" if new else "the same databases"
    console.print(table_of(["precision", "confidence from", "answered", "note"], rows, title))


def _show_profiles(profiles: dict[str, dict[str, Any]]) -> None:
    rows = [
        [
            name,
            number(one["auroc"]),
            number(one["ece"]),
            f"{one['cost_share']:.0%}",
            ", ".join(one["signals"]),
        ]
        for name, one in profiles.items()
    ]
    console.print(table_of(["profile", "AUROC", "ECE", "of the time of writing", "signals"], rows))
