"""`suresql key`: the API keys of this home."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from .output import console, print_json, table_of

app = typer.Typer(
    help="Make, list, rotate and revoke API keys.", no_args_is_help=True, rich_markup_mode="rich"
)
_Prefix = Annotated[str, typer.Argument(help="The key's prefix, as list shows it.", show_default=False)]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose it is.", show_default=False)],
    scope: Annotated[
        list[str] | None, typer.Option(help="ask, execute or admin; may be repeated. [default: ask]")
    ] = None,
    db: Annotated[
        list[str] | None, typer.Option(help="A database that it may ask; may be repeated. [default: all]")
    ] = None,
    tenant: Annotated[
        str | None, typer.Option(help="Whose turn in the queue it shares. [default: its own]")
    ] = None,
    days: Annotated[float | None, typer.Option(help="How long it is good for. [default: for ever]")] = None,
    requests_per_minute: Annotated[int | None, typer.Option(min=1)] = None,
    tokens_per_minute: Annotated[int | None, typer.Option(min=1)] = None,
    token_budget: Annotated[int | None, typer.Option(min=1, help="Tokens in each --budget-days.")] = None,
    budget_days: Annotated[int, typer.Option(min=1, max=366)] = 30,
) -> None:
    """Make a key and print it, this once; only its HMAC is kept.

    [bold]Example[/bold]

      suresql key create analytics --scope ask --scope execute --db demo --tokens-per-minute 100000
    """
    from ..errors import InvalidRequest
    from ..gateway.caller import Limits, Scope

    known = [one.value for one in Scope]
    for one in scope or ():
        if one not in known:
            raise InvalidRequest(f"There is no scope {one!r}.", f"There are: {', '.join(known)}.")
    text, key = _store().create(
        name,
        scopes=[Scope(one) for one in scope or ["ask"]],
        tenant=tenant,
        databases=db,
        limits=Limits(requests_per_minute, tokens_per_minute, token_budget, budget_days),
        days=days,
    )
    print(text)
    console.print(f"Prefix {key.prefix}; it is shown this once.", style="dim", highlight=False)


@app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="Print JSON alone.")] = False) -> None:
    """List the keys, those that are no longer good among them."""
    now = time.time()
    lines: list[dict[str, Any]] = [
        {
            "prefix": key.prefix,
            "name": key.name,
            "tenant": key.tenant,
            "state": key.state(now),
            "scopes": list(key.scopes),
            "databases": None if key.databases is None else list(key.databases),
            "expires": key.expires,
        }
        for key in _store().list()
    ]
    if as_json:
        print_json(lines)
        return
    rows = [
        [
            line["prefix"], line["name"], line["tenant"], line["state"], " ".join(line["scopes"]),
            "all" if line["databases"] is None else " ".join(line["databases"]),
            "never" if line["expires"] is None else time.strftime("%Y-%m-%d", time.gmtime(line["expires"])),
        ]
        for line in lines
    ]  # fmt: skip
    console.print(table_of(["prefix", "name", "tenant", "state", "scopes", "databases", "expires"], rows))


@app.command()
def rotate(
    prefix: _Prefix,
    grace_minutes: Annotated[float, typer.Option(min=0, help="How long the old one stays good.")] = 60.0,
) -> None:
    """Make a key with the rights of another, and let that one end."""
    text, key = _store().rotate(prefix, grace_minutes * 60)
    print(text)
    console.print(
        f"Prefix {key.prefix}; {prefix} ends in {grace_minutes:g} minutes.", style="dim", highlight=False
    )


@app.command()
def revoke(prefix: _Prefix) -> None:
    """End a key at once."""
    _store().revoke(prefix)
    console.print(f"Revoked {prefix}.", markup=False)


def _store():  # type: ignore[no-untyped-def]
    from ..gateway.keys import KeyStore
    from ..settings import load_settings

    settings = load_settings()
    secret = settings.key_secret.get_secret_value().encode() if settings.key_secret else None
    return KeyStore(settings.home, secret)
