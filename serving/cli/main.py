"""The command's entry: its subcommands, each in a file of its own, and what becomes of errors.

What is slow to import (torch, transformers, sqlglot) is imported inside the commands: --help is quick.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer

from .ask import ask
from .bench import bench
from .calibrate import calibrate
from .db import app as db
from .engine import app as engine
from .evaluate import evaluate
from .key import app as key
from .ledger import ledger
from .output import fail
from .questions import questions
from .serve import serve
from .train import train

app = typer.Typer(
    name="suresql",
    help="Ask a database in plain language; get SQL and a confidence that one can act on.",
    epilog='Start with:  suresql ask "which suppliers are in Germany?"',
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.command()(ask)
app.command()(serve)
app.command()(train)
app.command("eval")(evaluate)
app.command()(questions)
app.command()(calibrate)
app.command()(bench)
app.command()(ledger)
app.add_typer(db, name="db")
app.add_typer(engine, name="engine")
app.add_typer(key, name="key")


def _check_arguments(arguments: Sequence[str]) -> None:
    """Python hands over bytes that are not UTF-8 as halves of surrogate pairs, which nothing could print."""
    from ..errors import InvalidRequest

    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            shown = os.fsencode(argument).decode("utf-8", "backslashreplace")[:64]
            raise InvalidRequest(
                f"The argument {shown} is not UTF-8 text.",
                "Look at the terminal's encoding, or rename the file.",
            ) from None


def main() -> None:
    """Run the command; a ServingError becomes one message with a hint, and exit status 1."""
    from ..errors import ServingError

    # Before torch is imported: threads that spin while they wait make it ten times slower on busy cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        _check_arguments(sys.argv[1:])
        app()
    except ServingError as error:
        fail(error.message, error.hint)
    except KeyboardInterrupt:
        fail("Interrupted.", status=130)
    except BrokenPipeError:  # the reader, such as `head`, has what it wants
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
