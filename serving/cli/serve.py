"""`suresql serve`: the HTTP service."""

from __future__ import annotations

import asyncio
import errno
import math
import signal
import socket
import time
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .engine import offer_vllm
from .output import console, fail

if TYPE_CHECKING:
    from fastapi import FastAPI

    from ..settings import Settings

DRAIN_S = 2.0  # between SIGTERM and the end: time for a load balancer to see /readyz turn 503


def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on. [default: 127.0.0.1]", show_default=False)
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on. [default: 8000]", show_default=False)
    ] = None,
    checkpoint: Annotated[str | None, typer.Option(help="Folder of the model.", show_default=False)] = None,
    engine: Annotated[
        str | None,
        typer.Option(help="Who runs the model: embedded or vllm. [default: embedded]", show_default=False),
    ] = None,
    engine_url: Annotated[
        list[str] | None,
        typer.Option(
            help="A server of OpenAI's protocol that runs already; may be repeated.", show_default=False
        ),
    ] = None,
    replicas: Annotated[
        int | None, typer.Option(help="vLLM processes to start. [default: 1]", show_default=False)
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Ask for no API key, although others can reach the address.")
    ] = False,
) -> None:
    """Serve questions over HTTP. Where others than this machine can reach the address, requests need an API key.

    Every setting is also a variable of the environment: SURESQL_PORT, SURESQL_CHECKPOINT, SURESQL_HOME, ...

    [bold]Examples[/bold]

      suresql serve

      suresql serve --host 0.0.0.0 --port 9000

      suresql serve --engine vllm --replicas 2

      suresql serve --engine-url http://10.0.0.5:8000 --engine-url http://10.0.0.6:8000
    """
    from ..settings import load_settings

    settings = load_settings(
        host=host,
        port=port,
        checkpoint=checkpoint,
        engine=engine,
        engine_urls=engine_url,
        engine_replicas=replicas,
        keys="off" if insecure else None,
    )
    try:
        _serve(settings)
    except KeyboardInterrupt:  # the way that it is meant to be stopped
        return


def _serve(settings: Settings) -> None:
    started = time.monotonic()
    if settings.engine == "vllm" and not settings.engine_urls:
        offer_vllm(settings)
    listening = _listen(settings.host, settings.port)
    bound = listening.getsockname()[1]
    shown = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"http://{shown}:{bound}"
    console.print(
        f"SureSQL at {address}   (docs at {address}/docs; Ctrl-C stops it)", markup=False, soft_wrap=True
    )
    console.print(
        f"Try: curl -s {address}/v1/sql -H 'content-type: application/json'"
        """ -d '{"question": "which suppliers are in Germany?", "database": "demo", "execute": true}'""",
        markup=False,
        soft_wrap=True,
        highlight=False,
    )
    if settings.needs_keys:
        console.print("Requests need an API key: suresql key create NAME makes one.", markup=False)
    elif not settings.on_loopback:
        console.print(
            "Anyone who reaches this address may ask: no API key is needed.", style="yellow", markup=False
        )
    from ..app import create_app
    from ..assembly import load_pipeline

    app = create_app(settings, load_pipeline)
    _run(app, settings, listening, started)
    failure = app.state.service.failure
    if failure is not None:
        fail(failure.message, failure.hint)


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket, taken before the slow imports so that a used port is known at once."""
    from ..errors import SettingsError

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        hint = (
            "Take another with --port."
            if error.errno == errno.EADDRINUSE
            else "Choose another --host or --port."
        )
        raise SettingsError(f"Cannot listen on {host} port {port}: {error.strerror}.", hint) from error
    return listening


def _run(app: FastAPI, settings: Settings, listening: socket.socket, started: float) -> None:
    import uvicorn

    class Server(uvicorn.Server):
        """Says when the model is loaded, and stops if it cannot be; after SIGTERM, only once /readyz has said
        so a while.
        """

        announced = False

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            service = app.state.service
            if sig == signal.SIGTERM and not service.draining:
                service.draining = True
                asyncio.get_running_loop().call_later(DRAIN_S, super().handle_exit, sig, frame)
            else:
                service.draining = True
                super().handle_exit(sig, frame)

        async def on_tick(self, counter: int) -> bool:
            if app.state.service.ready and not self.announced:
                self.announced = True
                console.print(f"Ready in {time.monotonic() - started:.1f} s.", highlight=False)
            return app.state.service.failure is not None or await super().on_tick(counter)

    # What has begun is ended, and by when is the requests' own deadline: none is cut.
    patience = math.ceil(settings.request_timeout_s) + 5
    config: dict[str, Any] = {
        "log_level": "warning", "access_log": False, "timeout_graceful_shutdown": patience,
    }  # fmt: skip
    Server(uvicorn.Config(app, **config)).run(sockets=[listening])
