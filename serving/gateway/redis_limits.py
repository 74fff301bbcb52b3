"""The ledger of several processes, in Redis: each call is one script, so that nothing comes between a look and a change.

The scripts are twins of `limits.MemoryLedger`, and the tests hold them to it. Each may be run twice, as after a connection that
broke before its answer: the second time changes nothing. What cannot be settled now is settled when Redis answers again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from ..errors import Overloaded
from .caller import Caller, Limits
from .limits import DAY_S, EXPIRE_S, LATE_S, Reservation, refused

log = logging.getLogger(__name__)

TIMEOUT_S = 1.0
AGAIN_S = 0.5
"""Between two tries to settle what could not be."""

# An account is a hash (requests, tokens, at, window, spent), a sorted set of "tokens:request" by expiry, and another, by when it
# was seen, of those that expired and that nobody has settled yet.
_REFRESH = """
local account, held, expired = KEYS[1], KEYS[2], KEYS[3]
local rpm, tpm, budget, period = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000 + tonumber(ARGV[5])
local found = redis.call('HMGET', account, 'requests', 'tokens', 'at', 'window', 'spent')
local at = tonumber(found[3]) or 0
local passed = math.max(0, now - at)
local requests = math.min(rpm, (tonumber(found[1]) or rpm) + passed * rpm / 60)
local tokens = math.min(tpm, (tonumber(found[2]) or tpm) + passed * tpm / 60)
local spent = tonumber(found[5]) or 0
local window = math.floor(now / period)
local function amount(member) return tonumber(string.match(member, '^[^:]+')) end
if window ~= (tonumber(found[4]) or -1) then
  spent = 0
  for _, member in ipairs(redis.call('ZRANGE', held, 0, -1)) do spent = spent + amount(member) end
end
for _, member in ipairs(redis.call('ZRANGEBYSCORE', held, '-inf', now)) do
  redis.call('ZREM', held, member)
  redis.call('ZADD', expired, now, member)
  spent = math.max(0, spent - amount(member))
  tokens = math.min(tpm, tokens + amount(member))
end
redis.call('ZREMRANGEBYSCORE', expired, '-inf', now - LATE_S)
local function save()
  redis.call('HSET', account, 'requests', requests, 'tokens', string.format('%.6f', tokens), 'at',
    string.format('%.6f', math.max(at, now)), 'window', window, 'spent', string.format('%.6f', spent))
  redis.call('EXPIRE', account, period * 2)
  redis.call('EXPIRE', held, period * 2)
  redis.call('EXPIRE', expired, period * 2)
end
""".replace("LATE_S", str(LATE_S))
_RESERVE = (
    _REFRESH
    + """
local want, request, expire = tonumber(ARGV[6]), ARGV[7], tonumber(ARGV[8])
local member = string.format('%d:%s', want, request)
if redis.call('ZSCORE', held, member) then
  save()
  return {'', '0'}
end
if budget >= 0 and spent + want > budget then
  save()
  return {'budget', tostring((window + 1) * period - now)}
end
if requests < 1 then
  save()
  return {'requests', tostring((1 - requests) * 60 / rpm)}
end
local needed = math.min(want, tpm)
if tokens < needed then
  save()
  return {'tokens', tostring((needed - tokens) * 60 / tpm)}
end
requests, tokens, spent = requests - 1, tokens - want, spent + want
redis.call('ZADD', held, now + expire, member)
save()
return {'', '0'}
"""
)
_SETTLE = (
    _REFRESH
    + """
local was, request, took = tonumber(ARGV[6]), ARGV[7], tonumber(ARGV[8])
local member = string.format('%d:%s', was, request)
local back = 0
if redis.call('ZREM', held, member) == 1 then back = was - took
elseif redis.call('ZREM', expired, member) == 1 then back = -took end
spent = math.max(0, spent - back)
tokens = math.min(tpm, tokens + back)
save()
return {'', '0'}
"""
)
_ENDLESS = 1e15  # a bucket that is never empty


class RedisLedger:
    """The ledger in the Redis at `url`; `shift_s` moves its clock, for tests."""

    def __init__(
        self, url: str, *, expire_s: float = EXPIRE_S, shift_s: float = 0.0, name: str = "suresql"
    ) -> None:
        self._redis = redis.from_url(
            url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, retry=Retry(NoBackoff(), 1),
            max_connections=64,
        )  # fmt: skip
        self._reserve = self._redis.register_script(_RESERVE)
        self._settle = self._redis.register_script(_SETTLE)
        self._expire_s = expire_s
        self._late: deque[tuple[Reservation, int]] = deque()
        self._settling: asyncio.Task[None] | None = None
        self._name = name
        self.shift_s = shift_s

    async def reserve(self, caller: Caller, request: str, tokens: int) -> Reservation | None:
        """See Ledger.reserve."""
        if not caller.limits:
            return None
        reason, wait = await self._call(
            self._reserve, caller.key, caller.limits, tokens, request, self._expire_s
        )
        if reason:
            raise refused(caller, reason, wait)
        return Reservation(caller.key, request, tokens, caller.limits)

    async def settle(self, reservation: Reservation, tokens: int) -> None:
        """See Ledger.settle. Where Redis does not answer, it is told when it does, and this does not wait for it."""
        try:
            await self._settle_now(reservation, tokens)
        except (Overloaded, asyncio.CancelledError) as error:
            self._late.append((reservation, tokens))
            if self._settling is None or self._settling.done():
                self._settling = asyncio.create_task(self._settle_late())
            if not isinstance(error, Overloaded):
                raise
            log.warning("a request of key %s is settled later: %s", reservation.key, error.message)

    async def spent(self, key: str) -> tuple[float, int]:
        """Tokens spent in the budget's window, those held included, and how many requests hold some."""
        account, held, _ = self._places(key)
        return float(await self._redis.hget(account, "spent") or 0), int(await self._redis.zcard(held))  # type: ignore[misc]

    async def close(self) -> None:
        if self._settling is not None:
            self._settling.cancel()
            await asyncio.gather(self._settling, return_exceptions=True)
        with contextlib.suppress(Overloaded):
            await self._settle_all()
        if self._late:
            log.error("%d requests are left to expire: Redis does not answer", len(self._late))
        await self._redis.aclose()

    async def _settle_now(self, reservation: Reservation, tokens: int) -> None:
        await self._call(
            self._settle, reservation.key, reservation.limits, reservation.tokens, reservation.request, tokens
        )

    async def _settle_late(self) -> None:
        while self._late:
            await asyncio.sleep(AGAIN_S)
            with contextlib.suppress(Overloaded):
                await self._settle_all()

    async def _settle_all(self) -> None:
        while self._late:
            await self._settle_now(*self._late[0])
            self._late.popleft()

    def _places(self, key: str) -> list[str]:
        return [
            f"{self._name}:{{{key}}}:account",
            f"{self._name}:{{{key}}}:held",
            f"{self._name}:{{{key}}}:expired",
        ]

    async def _call(self, script, key: str, limits: Limits, *more: float | str) -> tuple[str, float]:  # type: ignore[no-untyped-def]
        def rate(value: int | None) -> float:
            return _ENDLESS if value is None else value

        arguments = [
            rate(limits.requests_per_minute), rate(limits.tokens_per_minute),
            -1 if limits.token_budget is None else limits.token_budget, limits.budget_days * DAY_S, self.shift_s, *more,
        ]  # fmt: skip
        try:
            reason, wait = await script(keys=self._places(key), args=arguments)
        except (RedisError, OSError, TimeoutError) as error:
            raise Overloaded(
                f"The ledger of limits cannot be asked ({type(error).__name__}).", "Try again shortly.", 2
            ) from error
        return reason.decode(), float(wait)
