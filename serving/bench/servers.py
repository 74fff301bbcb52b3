"""Real processes for benchmarks: a SureSQL server, or any that speaks HTTP, and a Redis; killed, stopped, started again."""

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
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..engines.vllm import free_port
from ..errors import EvaluationError
from ..settings import Settings

ONE_CORE = {"SURESQL_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""For a server whose model computes on one core."""
START_S = 240.0
STOP_S = 45.0
_SERVE = "from serving.cli import main; main()"


class Server:
    """One program at one address, the same after every start."""

    def __init__(
        self,
        name: str,
        command: list[str],
        port: int,
        log: Path,
        environment: Mapping[str, str] | None = None,
        *,
        ready: str = "/readyz",
        cwd: Path | None = None,
    ) -> None:
        """`environment` is added to this process's; `ready` is the path that answers once the program can."""
        self.name = name
        self.port = port
        self.process: subprocess.Popen[bytes] | None = None
        self._command = command
        self._log = log
        self._environment = {**os.environ, **(environment or {})}
        self._ready_path = ready
        self._cwd = cwd

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Start it; `wait` says when it answers."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, env=self._environment, stdout=log, stderr=log, cwd=self._cwd
            )

    def wait(self) -> None:
        """Until it is ready. Raises EvaluationError, with its log's end, where it ends or takes too long."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self.running:
            if self._ready():
                return
            time.sleep(0.1)
        raise EvaluationError(f"{self.name} does not answer: {self.log()[-800:]}")

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """`kill -9`."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def ask_to_stop(self) -> None:
        """SIGTERM, without waiting."""
        if self.running:
            self.process.send_signal(signal.SIGTERM)  # type: ignore[union-attr]

    def stop(self) -> None:
        """SIGTERM, and until it has ended."""
        self.ask_to_stop()
        if self.process is not None:
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(self.url + self._ready_path, timeout=5):
                return True
        except urllib.error.HTTPError as error:
            return error.code in (401, 403, 404)  # it answers, if not everybody
        except OSError:
            return False


class RedisServer(Server):
    """With `keeps`, on its disk before it answers, so that what it was told outlives `kill -9`; else in memory."""

    def __init__(self, folder: Path, *, keeps: bool = True) -> None:
        if shutil.which("redis-server") is None:
            raise EvaluationError("redis-server is not installed.", "apt-get install -y redis-server")
        port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        command = [
            "redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder),
            *(("--appendonly", "yes", "--appendfsync", "always") if keeps else ()),
        ]  # fmt: skip
        super().__init__("redis", command, port, folder / "redis.log")

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def _ready(self) -> bool:
        found = subprocess.run(
            ["redis-cli", "-p", str(self.port), "ping"], capture_output=True, text=True, check=False
        )
        return found.stdout.strip() == "PONG"


def suresql(settings: Settings, name: str, home: Path, log: Path, **variables: str) -> Server:
    """A `suresql serve` on a free port, its keys needed."""
    port = free_port()
    given = {
        "SURESQL_HOME": str(home), "SURESQL_KEYS": "required", "SURESQL_PORT": str(port),
        "SURESQL_CHECKPOINT": str(settings.checkpoint), "SURESQL_ENGINE": "embedded", "SURESQL_ENGINE_URLS": "",
        **variables,
    }  # fmt: skip
    return Server(name, [sys.executable, "-c", _SERVE, "serve"], port, log, given)


@contextlib.contextmanager
def started(*servers: Server) -> Iterator[None]:
    """All of them, ready; ended on leaving."""
    try:
        for one in servers:
            one.start()
        for one in servers:
            one.wait()
        yield
    finally:
        for one in servers:
            one.ask_to_stop()
        for one in servers:
            one.stop()
