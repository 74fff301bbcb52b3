"""Secrets at rest: sealed with Fernet (AES-128-CBC and HMAC-SHA256), under a key that lies apart from them."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from ..errors import StateError

_HINT = "A key is 32 bytes in URL-safe base64; SURESQL_SECRET_KEY may hold several, the newest first, with commas between."


class Seal:
    """Seals and opens texts. Without a key from the settings, one is made at its first use, readable by this user alone."""

    def __init__(self, home: Path, key: str | None = None) -> None:
        self._file = home / "secret.key"
        self._key = key

    def close(self, text: str) -> str:
        """`text`, sealed. Raises StateError."""
        return self._fernet(make=True).encrypt(text.encode()).decode()

    def open(self, sealed: str) -> str:
        """What was sealed. Raises StateError if the key is another or is gone, or what was sealed has been changed."""
        try:
            return self._fernet(make=False).decrypt(sealed.encode()).decode()
        except (InvalidToken, UnicodeError) as error:
            raise StateError(
                "A database's address cannot be unsealed: it was sealed with another key, or damaged.",
                "Set SURESQL_SECRET_KEY to the key it was added with, or remove the database and add it again.",
            ) from error

    def _fernet(self, *, make: bool) -> MultiFernet:
        keys = self._key if self._key is not None else self._own_key(make=make)
        try:
            return MultiFernet([Fernet(key.strip()) for key in keys.split(",")])
        except ValueError as error:
            raise StateError("The key of the sealed addresses is no key.", _HINT) from error

    def _own_key(self, *, make: bool) -> str:
        try:
            if make and not self._file.exists():
                self._file.parent.mkdir(parents=True, exist_ok=True)
                made = self._file.with_suffix(f".{os.getpid()}.tmp")
                with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                    file.write(Fernet.generate_key())
                    file.flush()
                    os.fsync(file.fileno())
                try:
                    os.link(
                        made, self._file
                    )  # unlike a rename, this keeps the key that another process made meanwhile
                except FileExistsError:
                    pass
                finally:
                    made.unlink()
            return self._file.read_text(encoding="ascii")
        except (OSError, UnicodeError) as error:
            raise StateError(
                f"The key of the sealed addresses, {self._file.name}, cannot be read or made in the state folder.",
                _HINT,
            ) from error
