"""What the commands print: errors, tables and JSON, in one manner."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from rich.console import Console
from rich.table import Table
from rich.text import Text

console = Console()
errors = Console(stderr=True)


def fail(message: str, hint: str = "", status: int = 1) -> NoReturn:
    """One message, a hint in a line of its own, and the end."""
    errors.print(Text.assemble(("Error: ", "bold red"), message), soft_wrap=True)
    if hint:
        errors.print(Text(f"  {hint}", style="dim"), soft_wrap=True)
    sys.exit(status)


def print_json(value: Any) -> None:
    """JSON alone on standard output, for other programs to read."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def table_of(columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str = "") -> Table:
    """A table of plain cells: nothing in them is read as markup."""
    table = Table(title=title or None, title_justify="left", header_style="bold")
    for number, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[number], (int, float)) for row in rows)
        table.add_column(Text(column), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text("NULL", style="dim") if cell is None else Text(str(cell)) for cell in row))
    return table


def bar(share: float, width: int = 24) -> Text:
    """A confidence in 0..1 as a bar with its percentage."""
    style = "green" if share >= 0.8 else "yellow" if share >= 0.5 else "red"
    full = round(share * width)
    return Text.assemble(("█" * full, style), ("░" * (width - full), "dim"), f" {share:.0%}")


def number(value: Any) -> str:
    """A figure for a table: three decimals, or a dash where it is undefined."""
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
