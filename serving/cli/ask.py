"""`suresql ask`: one question, its SQL, confidence and rows, in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .output import bar, console, errors, print_json, table_of

if TYPE_CHECKING:
    from ..execution import Result
    from ..pipeline import AskResult

SHOWN_ROWS = 50


def ask(
    question: Annotated[str, typer.Argument(help="The question, in plain language.", show_default=False)],
    db: Annotated[
        str, typer.Option(help="A registered name, a path, or a URL (sqlite, duckdb, postgresql).")
    ] = "demo",
    checkpoint: Annotated[str | None, typer.Option(help="Folder of the model.", show_default=False)] = None,
    run: Annotated[bool, typer.Option(help="Also run the SQL, reading only.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for other programs.")] = False,
) -> None:
    """Ask a database a question: SQL, how sure it is, and rows.

    [bold]Examples[/bold]

      suresql ask "which suppliers are in Germany?"

      suresql ask "how many albums are there?" --db chinook.sqlite --json
    """
    from ..databases import Databases
    from ..errors import ServingError
    from ..question import check_question
    from ..settings import load_settings

    check_question(question)
    settings = load_settings(checkpoint=checkpoint)
    database = Databases(settings.home, settings.secret).resolve(db)
    database.schema()
    with errors.status("Loading the model…"):
        from ..assembly import load_pipeline

        pipeline = load_pipeline(settings)
    with errors.status("Thinking…"):
        answer = pipeline.ask([(question, database)])[0]
    result, failure = None, answer.error
    if run and answer.sql:
        try:
            result = database.execute(
                answer.sql,
                written_in=database.dialect,
                max_rows=settings.max_rows,
                max_bytes=settings.max_bytes,
                timeout_s=settings.sql_timeout_s,
            )
        except ServingError as error:
            failure = error.message
    if as_json:
        print_json(_as_dict(answer, result, failure))
    else:
        _show(answer, result, failure)


def _as_dict(answer: AskResult, result: Result | None, failure: str | None) -> dict[str, Any]:
    return {
        "sql": answer.sql,
        "confidence": answer.confidence,
        "abstain": answer.abstain,
        "signals": [vars(signal) for signal in answer.signals],
        "rows": result.rows if result else None,
        "columns": result.columns if result else None,
        "model": answer.model,
        "error": failure,
    }


def _show(answer: AskResult, result: Result | None, failure: str | None) -> None:
    from rich.panel import Panel
    from rich.syntax import Syntax
    from rich.text import Text

    if answer.sql:
        console.print(
            Panel(Syntax(answer.sql, "sql", word_wrap=True, background_color="default"), title="SQL")
        )
        console.print(Text.assemble("Confidence ", bar(answer.confidence)))
        if answer.abstain:
            console.print(Text("Better not acted on: the confidence is under the threshold.", style="yellow"))
        rows = [
            [one.name, "–" if one.value is None else f"{one.value:.3f}", f"{one.ms:.0f}", one.note]
            for one in answer.signals
        ]
        console.print(table_of(["signal", "value", "ms", "note"], rows))
    if failure:
        console.print(Text(failure, style="red"))
    if result:
        more = " (and more)" if result.truncated or len(result.rows) > SHOWN_ROWS else ""
        shown = result.rows[:SHOWN_ROWS]
        console.print(table_of(result.columns, shown))
        noun = "row" if len(shown) == 1 else "rows"
        console.print(Text(f"{len(shown)} {noun}{more}, {result.ms:.1f} ms", style="dim"))
