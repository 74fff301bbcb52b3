"""Keeps an engine's process running: started, watched, restarted with a growing pause, ended with its children."""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import EngineSetupError
from . import cancel

log = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
STEADY_S = 60.0
"""Up for so long, and the pauses begin anew."""
STOP_S = 15.0
GIVE_UP = 3
"""So many ends before it first answers, and `wait` gives up."""
LOG_BYTES = 20 * 2**20
"""A log longer than that is begun anew at a restart, and the former kept beside it."""

# The engine is the child of this small program, which ends the engine's whole group when its standard input is closed:
# that happens however the gateway ends, `kill -9` included.
_GUARDIAN = """
import os, signal, subprocess, sys, threading
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)
def end(*_):
    try:
        os.killpg(child.pid, signal.SIGTERM)
    except ProcessLookupError:
        pass
def watch():
    os.read(0, 1)
    end()
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:
        pass
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    os._exit(0)
signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGINT, signal.SIG_IGN)
threading.Thread(target=watch, daemon=True).start()
status = child.wait()
try:
    os.killpg(child.pid, signal.SIGKILL)
except ProcessLookupError:
    pass
os._exit(status if status >= 0 else 128 - status)
"""


class Supervised:
    """One engine process behind an address; a thread looks after it until `stop`."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], url: str, log_file: Path
    ) -> None:
        self.url = url
        self.log_file = log_file
        self.restarts = 0
        self._command = list(command)
        self._environment = {**os.environ, **environment}
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name="suresql-supervisor", daemon=True)

    @property
    def pid(self) -> int | None:
        """Of the guardian, whose child the engine is."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Begin; `wait` says when it answers. Raises EngineSetupError where its log cannot be written."""
        try:
            self.log_file.parent.mkdir(parents=True, exist_ok=True)
            self.log_file.touch()
        except OSError as error:
            raise EngineSetupError(
                f"The engine's log {self.log_file} cannot be written: {error.strerror}.",
                "Set SURESQL_HOME to a folder that can be.",
            ) from error
        self._thread.start()

    def wait(self, timeout_s: float) -> None:
        """Until it answers. Raises EngineSetupError, with the log's end, when it does not in time or keeps dying."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and not self._stopping.is_set():
            cancel.check()
            if self.healthy():
                return
            if self.restarts >= GIVE_UP:
                break
            self._stopping.wait(0.2)
        raise EngineSetupError(
            f"The engine at {self.url} does not answer. Its log ends: {self._tail()}",
            f"The whole log is {self.log_file}.",
        )

    def healthy(self) -> bool:
        """Whether it answers now that it is well."""
        where = urlsplit(self.url)
        connection = http.client.HTTPConnection(where.hostname or "127.0.0.1", where.port, timeout=5)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def ask_to_stop(self) -> None:
        """Tell it to end, without waiting until it has."""
        self._stopping.set()
        process = self._process
        if process is not None and process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()

    def stop(self) -> None:
        """End it and all that it started."""
        self.ask_to_stop()
        process = self._process
        if process is not None:
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
        if self._thread.is_alive():
            self._thread.join(STOP_S)

    def _keep(self) -> None:
        pause = FIRST_PAUSE_S
        while not self._stopping.is_set():
            began = time.monotonic()
            status = self._run()
            if self._stopping.is_set():
                return
            if time.monotonic() - began > STEADY_S:
                pause = FIRST_PAUSE_S
            self.restarts += 1
            log.error(
                "the engine at %s ended (%s) and is started again in %.1f s; its log is %s",
                self.url, status, pause, self.log_file,
            )  # fmt: skip
            self._stopping.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def _run(self) -> str:
        if self.log_file.stat().st_size > LOG_BYTES:
            self.log_file.replace(self.log_file.with_suffix(".old.log"))
        with self.log_file.open("ab") as output:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", _GUARDIAN, *self._command],
                    stdin=subprocess.PIPE, stdout=output, stderr=output, env=self._environment, start_new_session=True,
                    cwd=self.log_file.parent,
                )  # fmt: skip
            except OSError as error:
                return f"it cannot be started: {error}"
            if self._stopping.is_set():  # stopped meanwhile
                self.ask_to_stop()
            status = self._process.wait()
        return f"status {status}"

    def _tail(self, chars: int = 1_500) -> str:
        try:
            lines = self.log_file.read_text(encoding="utf-8", errors="replace")[-chars:].splitlines()
        except OSError:
            return "(not readable)"
        return "\n".join(lines[-12:]) or "(empty)"
