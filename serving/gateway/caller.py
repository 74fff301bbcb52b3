"""Who asks, and what they may."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum

from ..errors import Forbidden, UnknownDatabase


class Scope(StrEnum):
    """What a key may be used for."""

    ASK = "ask"  # questions, completions, schemas
    EXECUTE = "execute"  # statements of one's own, and rows
    ADMIN = "admin"  # the databases themselves, and the ledger of calls


@dataclass(frozen=True)
class Limits:
    """Of one key; None is without limit. The bucket of a rate holds what a minute brings."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    token_budget: int | None = None
    """Tokens in each period of `budget_days`."""
    budget_days: int = 30

    def __bool__(self) -> bool:
        return any(
            limit is not None
            for limit in (self.requests_per_minute, self.tokens_per_minute, self.token_budget)
        )


@dataclass(frozen=True)
class Caller:
    """The holder of a key, or anyone where keys are off."""

    key: str
    """The key's public prefix, by which logs and limits know it."""
    tenant: str
    """Keys of one tenant share its turn in the queue."""
    scopes: frozenset[Scope] = frozenset(Scope)
    databases: frozenset[str] | None = None
    """Those that may be asked; None for all."""
    limits: Limits = field(default_factory=Limits)

    def need(self, scope: Scope) -> None:
        """Raises Forbidden without the scope."""
        if scope not in self.scopes:
            raise Forbidden(
                f"The key {self.key} lacks the scope {scope.value!r}; it has {_listed(self.scopes)}.",
                "Ask an administrator for a key that has it: suresql key create --scope ...",
            )

    def may_read(self, database: str) -> bool:
        return self.databases is None or database in self.databases

    def need_database(self, database: str) -> None:
        """Raises UnknownDatabase, as for one that is not there: a key tells nothing of what it may not read."""
        if not self.may_read(database):
            raise UnknownDatabase(
                f"There is no database {database!r}.", "GET /v1/databases lists those that there are."
            )


ANYONE = Caller("-", "-")


def _listed(scopes: Collection[Scope]) -> str:
    return ", ".join(sorted(scopes)) or "none"
