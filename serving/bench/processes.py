"""The processes of the gateway's benchmarks: an engine that does no work, Redis, and a `suresql serve` with everything on."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..engines.vllm import free_port
from ..errors import EvaluationError
from ..gateway.caller import Limits
from ..gateway.keys import KeyStore
from ..settings import Settings

START_S = 240.0
BIG = Limits(10**8, 10**9, 10**12)
"""Limits that are kept and that no benchmark reaches."""
_SERVE = "from serving.cli import main; main()"


@contextlib.contextmanager
def mock_engine(model: str, *more: str) -> Iterator[tuple[str, int]]:
    """The engine that does no work: its address and its process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "serving.bench.mock_engine", model, *more], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}", process.pid
    finally:
        end(process)


@contextlib.contextmanager
def redis(home: Path) -> Iterator[str | None]:
    """A Redis server's address; None where none is installed."""
    if shutil.which("redis-server") is None:
        yield None
        return
    port = free_port()
    process = subprocess.Popen(
        ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(home)],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield f"redis://127.0.0.1:{port}"
    finally:
        end(process)


@contextlib.contextmanager
def gateway(
    settings: Settings,
    home: Path,
    engine: str | None,
    redis: str | None,
    engine_key: str = "",
    **variables: str,
) -> Iterator[tuple[str, int, str]]:
    """A `suresql serve` with everything on: its address, its process and a key."""
    key, _ = KeyStore(home).create("bench", limits=BIG)
    port = free_port()
    environment = {
        **os.environ, "SURESQL_HOME": str(home), "SURESQL_KEYS": "required", "SURESQL_ACCESS_LOG": "true",
        "SURESQL_CHECKPOINT": str(settings.checkpoint), "SURESQL_PORT": str(port), "SURESQL_QUEUE": "1000",
        "SURESQL_ENGINE": "embedded", "SURESQL_ENGINE_URLS": engine or "",
    }  # fmt: skip
    environment |= variables
    if redis:
        environment["SURESQL_REDIS_URL"] = redis
    if engine_key:
        environment["SURESQL_ENGINE_API_KEY"] = engine_key
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, "serve"], env=environment, stdout=log, stderr=log
        )
    try:
        url = f"http://127.0.0.1:{port}"
        wait(url + "/readyz", process, home / "log")
        yield url, process.pid, key
    finally:
        end(process)


def wait(url: str, process: subprocess.Popen[Any], log: Path) -> None:
    """Until it answers. Raises EvaluationError, with the log's end, where it does not in time."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except urllib.error.HTTPError as error:
            if error.code in (401, 403, 404):
                return
        except OSError:
            pass
        time.sleep(0.2)
    raise EvaluationError(f"{url} does not answer: {log.read_text(errors='replace')[-600:]}")


def end(process: subprocess.Popen[Any]) -> None:
    """SIGTERM, and SIGKILL if that does not help."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
