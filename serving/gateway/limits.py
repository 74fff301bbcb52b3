"""Rates and token budgets of keys: an estimate is reserved, what it took is settled, what nobody settles expires.

A rate is a bucket that holds what a minute brings. A budget is a sum in a window of days. Tokens that are reserved count as spent
until they are settled, so that a burst cannot overrun what is left; a process that dies leaves reservations that expire.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from ..errors import LimitReached
from .caller import Caller, Limits

EXPIRE_S = 180.0
"""A reservation is good for so long, unless told: a service has it last longer than its requests may take."""
DAY_S = 86_400
MOST_WAIT_S = 86_400
LATE_S = DAY_S + 5
"""So long after a reservation expired what it took can still be settled."""


@dataclass(frozen=True)
class Reservation:
    """Tokens held for one request of one key."""

    key: str
    request: str
    tokens: int
    limits: Limits


class Ledger(Protocol):
    """Where reservations are kept."""

    async def reserve(self, caller: Caller, request: str, tokens: int) -> Reservation | None:
        """Hold an estimate for a request, None for a caller without limits. Raises LimitReached, or Overloaded where the
        ledger itself cannot be asked.
        """
        ...

    async def settle(self, reservation: Reservation, tokens: int) -> None:
        """Give back what was held, less what the request took; once, however often it is said. After it expired, take that."""
        ...

    async def close(self) -> None: ...


@dataclass
class _Account:
    requests: float = math.inf
    """Left in the bucket, as of `at`; the same for tokens."""
    tokens: float = math.inf
    at: float = 0.0
    window: int = -1
    spent: float = 0.0
    """In this window of the budget."""
    held: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Requests to when they expire and what they hold."""
    expired: dict[str, float] = field(default_factory=dict)
    """Requests that nobody has settled yet, to when that was seen."""


class MemoryLedger:
    """The ledger of one process."""

    def __init__(self, clock: Callable[[], float] = time.time, expire_s: float = EXPIRE_S) -> None:
        self._clock = clock
        self._expire_s = expire_s
        self._accounts: dict[str, _Account] = {}

    async def reserve(self, caller: Caller, request: str, tokens: int) -> Reservation | None:
        if not caller.limits:
            return None
        now = self._clock()
        account = self._accounts.setdefault(caller.key, _Account())
        _refresh(account, caller.limits, now)
        refusal = _refusal(account, caller.limits, tokens, now)
        if request in account.held:
            return Reservation(caller.key, request, tokens, caller.limits)
        if refusal is not None:
            raise refused(caller, *refusal)
        account.requests -= 1
        account.tokens -= tokens
        account.spent += tokens
        account.held[request] = (now + self._expire_s, tokens)
        return Reservation(caller.key, request, tokens, caller.limits)

    async def settle(self, reservation: Reservation, tokens: int) -> None:
        account = self._accounts.get(reservation.key)
        if account is None:
            return
        _refresh(account, reservation.limits, self._clock())
        if reservation.request in account.held:
            _, held = account.held.pop(reservation.request)
            _give_back(account, reservation.limits, held - tokens)
        elif account.expired.pop(reservation.request, None) is not None:
            _give_back(account, reservation.limits, -tokens)

    async def close(self) -> None:
        return

    def left(self, key: str) -> tuple[float, float]:
        """Tokens spent in the budget's window, those held included, and how many requests hold some."""
        account = self._accounts.get(key, _Account())
        return account.spent, len(account.held)


def refused(caller: Caller, reason: str, wait_s: float) -> LimitReached:
    """What the caller is told."""
    what = {
        "requests": f"{caller.limits.requests_per_minute} requests a minute",
        "tokens": f"{caller.limits.tokens_per_minute} tokens a minute",
        "budget": f"{caller.limits.token_budget} tokens in {caller.limits.budget_days} days",
    }[reason]
    wait = max(1, min(MOST_WAIT_S, math.ceil(wait_s)))
    return LimitReached(f"The key {caller.key} has used up its {what}.", f"Try again in {wait} s.", wait)


def _refresh(account: _Account, limits: Limits, now: float) -> None:
    """Bring the account to `now`: fill the buckets, begin a new window, let go of what expired."""
    passed = max(0.0, now - account.at) if account.at else math.inf
    for name, rate in (("requests", limits.requests_per_minute), ("tokens", limits.tokens_per_minute)):
        full = math.inf if rate is None else float(rate)
        setattr(account, name, min(full, getattr(account, name) + (passed * full / 60 if rate else 0.0)))
    account.at = max(account.at, now)
    window = int(now // (limits.budget_days * DAY_S))
    if window != account.window:  # what is held is not yet spent: it moves along
        account.window = window
        account.spent = sum(held for _, held in account.held.values())
    for request in [request for request, (expires, _) in account.held.items() if expires <= now]:
        _, held = account.held.pop(request)
        account.expired[request] = now
        _give_back(account, limits, held)
    for request in [request for request, seen in account.expired.items() if seen <= now - LATE_S]:
        del account.expired[request]


def _give_back(account: _Account, limits: Limits, tokens: float) -> None:
    account.spent = max(0.0, account.spent - tokens)
    full = math.inf if limits.tokens_per_minute is None else float(limits.tokens_per_minute)
    account.tokens = min(full, account.tokens + tokens)


def _refusal(account: _Account, limits: Limits, tokens: int, now: float) -> tuple[str, float] | None:
    """Why a request cannot be, and in how many seconds it may; None if it can be now.

    More tokens than a full bucket holds are let in when it is full, or they would never be.
    """
    if limits.token_budget is not None and account.spent + tokens > limits.token_budget:
        period = limits.budget_days * DAY_S
        return "budget", (account.window + 1) * period - now
    if limits.requests_per_minute is not None and account.requests < 1:
        return "requests", (1 - account.requests) * 60 / limits.requests_per_minute
    rate = limits.tokens_per_minute
    if rate is not None and account.tokens < (wanted := min(tokens, rate)):
        return "tokens", (wanted - account.tokens) * 60 / rate
    return None
