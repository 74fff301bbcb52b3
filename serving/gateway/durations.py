"""How long a request is expected to take: as long as those before it that began alike, by the same tenant, with a like limit.

A limit alone says little, since a model ends most answers long before it, and a prompt's length says less, since it is read at
once while an answer is written token by token. What begins alike comes from one program with one purpose.
"""

from __future__ import annotations

from collections import OrderedDict

START_CHARS = 256
"""So much of a prompt's beginning tells its kind."""
MOST_KINDS = 4_096
SHARE = 0.2
"""Of the latest in a running mean."""
Kind = tuple[str, int, int]


class Durations:
    """Running means of seconds by kind; of a kind that is new, what a token of limit took of late, times its limit."""

    def __init__(self) -> None:
        self._kinds: OrderedDict[Kind, float] = OrderedDict()
        self._seconds, self._limit = 1.0, 256.0

    def kind(self, tenant: str, start: str, limit: int) -> Kind:
        """What is looked at of a request. No prompt is kept, only a hash of it."""
        return tenant, hash(start[:START_CHARS]), limit.bit_length()

    def expect(self, kind: Kind, limit: int) -> float:
        """Seconds that a request of the kind, which may write so many tokens, will take."""
        known = self._kinds.get(kind)
        return self._seconds * limit / self._limit if known is None else known

    def learn(self, kind: Kind, limit: int, seconds: float) -> None:
        """One of the kind took so long."""
        self._seconds += SHARE * (seconds - self._seconds)
        self._limit += SHARE * (limit - self._limit)
        known = self._kinds.pop(kind, seconds)
        self._kinds[kind] = known + SHARE * (seconds - known)
        if len(self._kinds) > MOST_KINDS:
            self._kinds.popitem(last=False)
