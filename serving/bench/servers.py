"""Real processes for benchmarks of faults: a SureSQL server and a Redis that can be killed, stopped, and started again."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from ..engines.vllm import free_port
from ..errors import EvaluationError
from ..settings import Settings

START_S = 240.0
STOP_S = 45.0
_SERVE = "from serving.cli import main; main()"


class Server:
    """One program at one address, the same after every start."""

    def __init__(self, name: str, command: list[str], port: int, log: Path, **variables: str) -> None:
        self.name = name
        self.port = port
        self.process: subprocess.Popen[bytes] | None = None
        self._command = command
        self._log = log
        self._environment = {**os.environ, **variables}

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
            self.process = subprocess.Popen(self._command, env=self._environment, stdout=log, stderr=log)

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

    def rss_mb(self) -> float:
        """Resident memory of the process."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return round(int(line.split()[1]) / 1024, 1)
        return 0.0

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(self.url + "/readyz", timeout=5):
                return True
        except OSError:
            return False


class RedisServer(Server):
    """Keeps what it was told through `kill -9`."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("redis-server") is None:
            raise EvaluationError("redis-server is not installed.", "apt-get install -y redis-server")
        port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        command = [
            "redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder),
            "--appendonly", "yes", "--appendfsync", "always",
        ]  # fmt: skip
        super().__init__("redis", command, port, folder / "log")

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def _ready(self) -> bool:
        found = subprocess.run(
            ["redis-cli", "-p", str(self.port), "ping"], capture_output=True, text=True, check=False
        )
        return found.stdout.strip() == "PONG"


def suresql(settings: Settings, name: str, home: Path, log: Path, **variables: str) -> Server:
    """A `suresql serve` on a free port, its keys needed and its computing on one core."""
    port = free_port()
    given = {
        "SURESQL_HOME": str(home), "SURESQL_KEYS": "required", "SURESQL_PORT": str(port),
        "SURESQL_CHECKPOINT": str(settings.checkpoint), "SURESQL_ENGINE": "embedded", "SURESQL_ENGINE_URLS": "",
        "SURESQL_THREADS": "1", "OMP_NUM_THREADS": "1", **variables,
    }  # fmt: skip
    return Server(name, [sys.executable, "-c", _SERVE, "serve"], port, log, **given)


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
