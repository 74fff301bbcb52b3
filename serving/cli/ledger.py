"""`suresql ledger`: does what gateways charged for agree with what their engines did."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from .output import console, print_json, table_of


def ledger(
    gateway: Annotated[
        list[str] | None,
        typer.Option(help="A gateway's address; may be repeated. [default: http://127.0.0.1:8000]"),
    ] = None,
    engine: Annotated[
        list[str] | None,
        typer.Option(help="An engine's, of SureSQL; may be repeated. [default: the one in the gateway]"),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(envvar="SURESQL_ADMIN_KEY", help="An administrator's key.", show_default=False),
    ] = None,
    engine_key: Annotated[
        str | None,
        typer.Option(
            envvar="SURESQL_ENGINE_ADMIN_KEY", help="One of the engines, if another.", show_default=False
        ),
    ] = None,
    join: Annotated[
        bool, typer.Option("--join", help="Read both tables whole, where more differs than sketches name.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON alone.")] = False,
) -> None:
    """Compare what gateways settled with what their engines did, and name the calls that differ.

    Ends with status 1 where something differs that nothing explains. Calls of clients that left, and those that an engine
    broke off, may differ: what was spent on them was not told.

    [bold]Example[/bold]

      SURESQL_ADMIN_KEY=sure-... suresql ledger --gateway http://10.0.0.1:8000 --engine http://10.0.0.5:8000
    """
    from ..errors import InvalidRequest
    from ..gateway.reconcile import reconcile

    if not key:
        raise InvalidRequest(
            "A ledger is told to an administrator alone.",
            "Set SURESQL_ADMIN_KEY to a key with the scope admin: suresql key create NAME --scope admin.",
        )
    found = reconcile(gateway or ["http://127.0.0.1:8000"], engine or (), key, engine_key, join=join)
    if as_json:
        print_json({**asdict(found), "unexplained": len(found.unexplained)})
    else:
        if found.differences:
            rows = [
                [one.call, one.request, one.key, str(one.settled), str(one.did), one.why or "unexplained"]
                for one in found.differences
            ]
            console.print(table_of(["call", "request", "key", "settled", "did", "why"], rows))
        for url in found.silent:
            console.print(f"{url} keeps no ledger.", markup=False)
        console.print(
            f"{found.settled_calls} calls settled, {found.did_calls} done; {len(found.differences)} differ,"
            f" {len(found.unexplained)} of them unexplained. {found.bytes_read:,} bytes read.",
            highlight=False,
        )
    raise typer.Exit(1 if found.unexplained else 0)
