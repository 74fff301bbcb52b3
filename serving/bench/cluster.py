"""A PostgreSQL server of one's own, in a temporary folder, for tests and benchmarks; it goes with the program."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..engines.vllm import free_port
from ..errors import EvaluationError

_PLACES = ("/usr/lib/postgresql", "/usr/local/lib/postgresql", "/opt/homebrew/opt")
STARTS = 50
OWNER_PASSWORD, READER_PASSWORD = "owner-of-a-test", "reader-of-a-test"


@dataclass
class Cluster:
    """A running server on loopback and a socket in `folder`, with an administrator, `owner`."""

    folder: Path
    port: int
    programs: Path
    user: int | None
    command: list[str]
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; `wait` says when it answers."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                user=self.user,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
            )

    def wait(self) -> None:
        """Until it takes connections; one that ends, as while the killed one's children are still there, is started again."""
        for _ in range(STARTS):
            while self.process is not None and self.process.poll() is None:
                if self._ready():
                    return
            time.sleep(0.2)
            self.start()
        raise EvaluationError(f"PostgreSQL did not start: {(self.folder / 'log').read_text()[-400:]}")

    def kill(self) -> None:
        """As `kill -9` of the server does; its children end when they see it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> None:
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.kill()

    def _ready(self) -> bool:
        asked: list[str | Path] = [
            self.programs / "pg_isready",
            "-q",
            "-h",
            self.folder,
            "-p",
            str(self.port),
            "-t",
            "5",
        ]
        return subprocess.run(asked, check=False).returncode == 0

    def url(self, role: str = "reader", database: str = "postgres", password: str | None = None) -> str:
        known = OWNER_PASSWORD if role == "owner" else READER_PASSWORD
        return (
            f"postgresql://{role}:{known if password is None else password}@127.0.0.1:{self.port}/{database}"
        )


def binaries() -> Path | None:
    """The folder of initdb and postgres, if PostgreSQL's server is installed."""
    for name in filter(None, [os.environ.get("SURESQL_POSTGRES_BIN")]):
        return Path(name)
    for root in map(Path, _PLACES):
        found = [folder for folder in root.glob("*/bin") if (folder / "initdb").exists()]
        if found:
            return max(
                found, key=lambda folder: [int(x) for x in folder.parent.name.split(".") if x.isdigit()]
            )
    on_path = shutil.which("initdb")
    return None if on_path is None else Path(on_path).resolve().parent


@contextmanager
def cluster(settings: dict[str, str] | None = None) -> Iterator[Cluster]:
    """Make and start one; as root, under an unprivileged user, as PostgreSQL wants it. Raises EvaluationError."""
    programs = binaries()
    if programs is None:
        raise EvaluationError(
            "PostgreSQL's server is not installed: initdb was not found.", "apt-get install -y postgresql"
        )
    user = _unprivileged()
    with tempfile.TemporaryDirectory(prefix="suresql-pg-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        data = folder / "data"
        password = folder / "password"
        password.write_text(OWNER_PASSWORD)
        if user is not None:
            for path in (folder, password):
                os.chown(path, user, -1)
        _run(
            [programs / "initdb", "-D", data, "-U", "owner", "--pwfile", password, "-A", "scram-sha-256",
             "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"], user,
        )  # fmt: skip
        port = free_port()
        options = {
            "listen_addresses": "127.0.0.1", "port": str(port), "unix_socket_directories": str(folder),
            "fsync": "off", "shared_buffers": "32MB", "max_connections": "40", **(settings or {}),
        }  # fmt: skip
        command = [str(programs / "postgres"), "-D", str(data)]
        for key, value in options.items():
            command += ["-c", f"{key}={value}"]
        made = Cluster(folder, port, programs, user, command)
        made.start()
        try:
            made.wait()
            yield made
        finally:
            made.stop()


def _unprivileged() -> int | None:
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            continue
    raise EvaluationError("PostgreSQL does not run as root, and there is no other user.", "Run as a user.")


def _run(command: list[str | Path], user: int | None) -> None:
    found = subprocess.run(list(map(str, command)), user=user, capture_output=True, cwd="/", check=False)
    if found.returncode:
        raise EvaluationError(f"{Path(str(command[0])).name} failed: {found.stderr.decode()[-400:]}")
