"""API keys: 256 random bits, kept as an HMAC-SHA256 and found by a public prefix; several processes share one file of them."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import InvalidRequest, StateError, Unauthorized
from .caller import Caller, Limits, Scope

MARK = "sure"
LOOK_S = 0.5
"""How long a process may go on with what it read of the file: the longest that a revoked key lives."""
MOST_DAYS = 3_650
_TABLE = """
CREATE TABLE IF NOT EXISTS keys (
    prefix TEXT PRIMARY KEY, mac TEXT NOT NULL, name TEXT NOT NULL, tenant TEXT NOT NULL, scopes TEXT NOT NULL,
    databases TEXT, limits TEXT NOT NULL, created REAL NOT NULL, expires REAL, revoked REAL
)"""


@dataclass(frozen=True)
class Key:
    """What is known of a key; the key itself is not."""

    prefix: str
    mac: str
    name: str
    tenant: str
    scopes: tuple[str, ...]
    databases: tuple[str, ...] | None
    limits: Limits
    created: float
    expires: float | None
    revoked: float | None

    def state(self, now: float) -> str:
        if self.revoked is not None and self.revoked <= now:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= now else "active"

    def caller(self) -> Caller:
        return Caller(
            self.prefix,
            self.tenant,
            frozenset(Scope(scope) for scope in self.scopes),
            None if self.databases is None else frozenset(self.databases),
            self.limits,
        )


class KeyStore:
    """The keys of a home folder. Safe to use from several threads and processes."""

    def __init__(self, home: Path, secret: bytes | None = None) -> None:
        """`secret` keys the HMAC; without one, `<home>/key-secret` does, made of random bits the first time.

        Raises StateError where the folder cannot be used.
        """
        self._file = home / "keys.sqlite"
        try:
            home.mkdir(parents=True, exist_ok=True)
            self._secret = secret or _secret(home / "key-secret")
            with self._open() as connection:
                connection.execute(_TABLE)
            self._file.chmod(0o600)
        except (OSError, sqlite3.Error) as error:
            raise StateError(
                f"The keys in {home} cannot be read or written: {error}.",
                "Set SURESQL_HOME to a folder that can be.",
            ) from error
        self._lock = threading.Lock()
        self._known: dict[str, Key] = {}
        self._callers: dict[str, Caller] = {}
        self._looked = float("-inf")
        self._stamp: tuple[int, ...] = ()

    def create(
        self,
        name: str,
        *,
        scopes: Collection[Scope] = (Scope.ASK,),
        tenant: str | None = None,
        databases: Collection[str] | None = None,
        limits: Limits | None = None,
        days: float | None = None,
    ) -> tuple[str, Key]:
        """A new key, which is shown this once, and what is kept of it."""
        if not name.strip() or len(name) > 100 or not name.isprintable():
            raise InvalidRequest(f"A key's name is 1 to 100 printable characters; found {name[:100]!r}.")
        if not scopes:
            raise InvalidRequest(
                "A key without a scope is good for nothing.", "Give it ask, execute or admin."
            )
        if days is not None and not 0 < days <= MOST_DAYS:
            raise InvalidRequest(f"A key lives between 0 and {MOST_DAYS} days; found {days:g}.")
        prefix = secrets.token_hex(6)
        text = f"{MARK}-{prefix}-{secrets.token_urlsafe(32)}"
        now = time.time()
        key = Key(
            prefix, self._mac(text), name, tenant or name, tuple(sorted(scopes)),
            None if databases is None else tuple(sorted(databases)), limits or Limits(), now,
            None if days is None else now + days * 86_400, None,
        )  # fmt: skip
        with self._open() as connection:
            connection.execute(
                "INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    key.prefix, key.mac, key.name, key.tenant, json.dumps(key.scopes),
                    None if key.databases is None else json.dumps(key.databases),
                    json.dumps(asdict(key.limits)), key.created, key.expires, key.revoked,
                ),
            )  # fmt: skip
        return text, key

    def rotate(self, prefix: str, grace_s: float = 3_600.0) -> tuple[str, Key]:
        """A new key with the rights of this one, which is good for `grace_s` more."""
        old = self._one(prefix)
        now = time.time()
        if old.state(now) != "active":
            raise InvalidRequest(f"The key {prefix} is {old.state(now)}.", "Create a new one.")
        days = None if old.expires is None else (old.expires - now) / 86_400
        made = self.create(
            old.name,
            scopes=[Scope(scope) for scope in old.scopes],
            tenant=old.tenant,
            databases=old.databases,
            limits=old.limits,
            days=days,
        )
        self._end(prefix, now + max(0.0, grace_s))
        return made

    def revoke(self, prefix: str) -> None:
        """Good no longer, everywhere within LOOK_S."""
        self._one(prefix)
        self._end(prefix, time.time())

    def list(self) -> list[Key]:
        """All keys, the oldest first, those that are no longer good among them."""
        with self._open() as connection:
            rows = connection.execute("SELECT * FROM keys ORDER BY created, prefix").fetchall()
        return [_key(row) for row in rows]

    def check(self, text: str | None) -> Caller:
        """Who holds this key. Raises Unauthorized, which does not say what was wrong with it, except its end."""
        if not text:
            raise Unauthorized(
                "There is no API key in the request.", "Send the header authorization: Bearer sure-..."
            )
        parts = text.split("-", 2)
        key = self._find(parts[1]) if len(parts) == 3 and parts[0] == MARK else None
        # The comparison is made for an unknown prefix too, so that the time tells nothing.
        same = hmac.compare_digest(self._mac(text), key.mac if key else "0" * 64)
        if key is None or not same:
            raise Unauthorized("The API key is not known.", "suresql key list shows the keys that there are.")
        if (state := key.state(time.time())) != "active":
            raise Unauthorized(f"The API key {key.prefix} is {state}.", "Ask an administrator for a new one.")
        return self._callers[key.prefix]

    def _find(self, prefix: str) -> Key | None:
        now = time.monotonic()
        if now - self._looked > LOOK_S:
            with self._lock:
                stamp = self._stamp_of()
                if stamp != self._stamp:
                    known = {key.prefix: key for key in self.list()}
                    self._callers = {key.prefix: key.caller() for key in known.values()}
                    self._known, self._stamp = known, stamp
                self._looked = now
        return self._known.get(prefix)

    def _stamp_of(self) -> tuple[int, ...]:
        found = self._file.stat()
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _one(self, prefix: str) -> Key:
        found = [key for key in self.list() if key.prefix == prefix]
        if not found:
            raise InvalidRequest(f"There is no key {prefix[:40]!r}.", "suresql key list shows the prefixes.")
        return found[0]

    def _end(self, prefix: str, when: float) -> None:
        with self._open() as connection:
            connection.execute(
                "UPDATE keys SET revoked = min(coalesce(revoked, ?), ?) WHERE prefix = ?",
                (when, when, prefix),
            )

    def _mac(self, text: str) -> str:
        return hmac.new(self._secret, text.encode("utf-8", "replace"), hashlib.sha256).hexdigest()

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self._file, timeout=10)
        try:
            with connection:
                yield connection
        finally:
            connection.close()


def _key(row: tuple) -> Key:
    prefix, mac, name, tenant, scopes, databases, limits, created, expires, revoked = row
    return Key(
        prefix, mac, name, tenant, tuple(json.loads(scopes)),
        None if databases is None else tuple(json.loads(databases)), Limits(**json.loads(limits)),
        created, expires, revoked,
    )  # fmt: skip


def _secret(file: Path) -> bytes:
    """The file's bits, made where it is not there; two processes that make it at once agree."""
    if not file.exists():
        temporary = file.with_name(f".{file.name}-{secrets.token_hex(4)}")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as output:
            output.write(secrets.token_bytes(32))
        try:
            os.link(temporary, file)
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    found = file.read_bytes()
    if len(found) < 32:
        raise OSError(f"{file} holds {len(found)} bytes, expected 32")
    return found
