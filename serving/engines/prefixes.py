"""Latents of prompt prefixes, kept: the schema's part of a prompt is read once for a database, not for each question."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from torch import Tensor

Ids = tuple[int, ...]
SHORTEST = 16
"""Fewer tokens are not worth a pass of their own."""


class Prefixes:
    """Least recently used out first, within `max_bytes`. Not for several threads: the engine's lock is around it."""

    def __init__(self, end_id: int | None, max_bytes: int) -> None:
        """A prefix is what stands before the first `end_id`; None, or no bytes, and there are no prefixes."""
        self._end_id = end_id if max_bytes > 0 else None
        self._max_bytes = max_bytes
        self._kept: OrderedDict[Ids, Tensor] = OrderedDict()
        self.bytes = 0

    def length(self, prompt: Sequence[int]) -> int:
        """How many of the prompt's tokens are a prefix worth keeping; 0 if none. Never all of them."""
        if self._end_id is None or self._end_id not in prompt:
            return 0
        length = prompt.index(self._end_id)
        return length if length >= SHORTEST else 0

    def get(
        self, wanted: Sequence[Ids], read: Callable[[Sequence[Ids]], Sequence[Tensor]]
    ) -> dict[Ids, Tensor]:
        """The latents of each, as `Latents.copy` gives them; those not kept are read together, each once, and kept."""
        found = {ids: self._kept[ids] for ids in wanted if ids in self._kept}
        for ids in found:
            self._kept.move_to_end(ids)
        if missing := [ids for ids in dict.fromkeys(wanted) if ids not in found]:
            for ids, latents in zip(missing, read(missing), strict=True):
                found[ids] = latents
                self._keep(ids, latents)
        return found

    def _keep(self, ids: Ids, latents: Tensor) -> None:
        if latents.nbytes > self._max_bytes:
            return
        self._kept[ids] = latents
        self.bytes += latents.nbytes
        while self.bytes > self._max_bytes:
            _, oldest = self._kept.popitem(last=False)
            self.bytes -= oldest.nbytes
