"""A PostgreSQL server of one's own, in a temporary folder, for tests and benchmarks; it goes with the program."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import EvaluationError

_PLACES = ("/usr/lib/postgresql", "/usr/local/lib/postgresql", "/opt/homebrew/opt")
OWNER_PASSWORD, READER_PASSWORD = "owner-of-a-test", "reader-of-a-test"


@dataclass(frozen=True)
class Cluster:
    """A running server on loopback and a socket in `folder`, with an administrator, `owner`."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

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
        port = _free_port()
        options = {
            "listen_addresses": "127.0.0.1", "port": str(port), "unix_socket_directories": str(folder),
            "fsync": "off", "shared_buffers": "32MB", "max_connections": "40", **(settings or {}),
        }  # fmt: skip
        command = [str(programs / "postgres"), "-D", str(data)]
        for key, value in options.items():
            command += ["-c", f"{key}={value}"]
        log = (folder / "log").open("wb")
        process = subprocess.Popen(
            command, user=user, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=folder
        )
        try:
            _wait(programs, folder, port, process)
            yield Cluster(folder, port, process)
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            log.close()


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


def _wait(programs: Path, folder: Path, port: int, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        ready = subprocess.run(
            [programs / "pg_isready", "-q", "-h", folder, "-p", str(port), "-t", "5"], check=False
        )
        if ready.returncode == 0:
            return
    raise EvaluationError(f"PostgreSQL did not start: {(folder / 'log').read_text()[-400:]}")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
