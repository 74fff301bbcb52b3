"""`suresql engine`: engines that live in environments of their own."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from .output import console, fail

if TYPE_CHECKING:
    from ..settings import Settings

app = typer.Typer(
    help="Install and look at engines beside the one built in.", no_args_is_help=True, rich_markup_mode="rich"
)


@app.command()
def install(
    name: Annotated[str, typer.Argument(help="Which: vllm.", show_default=False)],
    again: Annotated[bool, typer.Option(help="Make it anew where it is there already.")] = False,
) -> None:
    """Make an engine's environment, for the GPU if there is one.

    [bold]Example[/bold]

      suresql engine install vllm
    """
    from ..engines.vllm import environment, has_gpu
    from ..settings import load_settings

    if name != "vllm":
        fail(f"There is no engine {name!r} to install.", "There is: vllm.")
    there = environment(load_settings())
    if there.ready and not again:
        console.print(f"vLLM is there: {there.folder}", markup=False, soft_wrap=True)
        return
    there.install(gpu=has_gpu(), say=_say)


@app.command()
def status() -> None:
    """Say which engines can be used."""
    from ..engines.vllm import environment, has_gpu
    from ..settings import load_settings

    there = environment(load_settings())
    console.print("embedded: ready", markup=False)
    console.print(
        f"vllm: {'ready' if there.ready else 'not installed'} ({there.folder})", markup=False, soft_wrap=True
    )
    console.print(f"GPU: {'yes' if has_gpu() else 'none'}", markup=False)


def offer_vllm(settings: Settings) -> None:
    """Where vLLM is wanted and not there, offer to install it; without a terminal to ask on, say how."""
    from ..engines.vllm import environment, has_gpu

    there = environment(settings)
    if there.ready:
        return
    if not sys.stdin.isatty():
        fail(f"vLLM is not installed in {there.folder}.", "Run: suresql engine install vllm")
    if not typer.confirm(f"vLLM is not installed. Install it into {there.folder} (3 GB, some minutes)?"):
        fail("Without vLLM there is nothing to serve with.", "Or serve with --engine embedded.")
    there.install(gpu=has_gpu(), say=_say)


def _say(line: str) -> None:
    console.print(line, markup=False, soft_wrap=True)
