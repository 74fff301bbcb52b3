"""Compares what gateways settled with what their engines did: by sketches, or by a join of the tables where those do not do."""

from __future__ import annotations

import json
import time
from base64 import b64decode
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from ..errors import InvalidRequest, ServingError
from .calls import Side
from .sketch import Sketch

TIMEOUT_S = 30.0
AT_ONCE = 100
"""Calls asked after in one request."""


@dataclass(frozen=True)
class Difference:
    """A call on which the two sides do not agree, and what each says of it."""

    call: str
    settled: int
    did: int
    request: str = "-"
    """Of the client, and below its key, as far as either side knows."""
    key: str = "-"
    why: str = ""
    """Why the two may differ, in the gateway's words; empty where nothing explains it."""


@dataclass(frozen=True)
class Reconciliation:
    """What was compared, and what differs."""

    settled_calls: int
    did_calls: int
    differences: tuple[Difference, ...]
    bytes_read: int = 0
    silent: tuple[str, ...] = field(default=())
    """Engines that keep no such ledger, as vLLM."""

    @property
    def unexplained(self) -> tuple[Difference, ...]:
        return tuple(one for one in self.differences if not one.why)


def reconcile(
    gateways: Sequence[str],
    engines: Sequence[str],
    key: str,
    engine_key: str | None = None,
    *,
    join: bool = False,
    again_after_s: float = 2.0,
) -> Reconciliation:
    """Compare all gateways with all engines that they ask; without engines, with the engine in each gateway.

    What differs is looked at a second time `again_after_s` later: calls that were being made are then settled. Raises SketchFull
    where too many differ for sketches (`join` then names them), ServingError where a side cannot be asked.
    """
    ends = _Ends(gateways, engines or gateways, key, engine_key or key)
    with httpx.Client(timeout=TIMEOUT_S) as client:
        compare = ends.joined if join else ends.subtracted
        first = compare(client)
        if not first.differences or not again_after_s:
            return first
        time.sleep(again_after_s)
        again = compare(client)
    lasting = {(one.call, one.settled, one.did) for one in first.differences}
    both = tuple(one for one in again.differences if (one.call, one.settled, one.did) in lasting)
    return Reconciliation(again.settled_calls, again.did_calls, both, again.bytes_read, again.silent)


class _Ends:
    """The processes of both sides, and how they are asked."""

    def __init__(self, gateways: Sequence[str], engines: Sequence[str], key: str, engine_key: str) -> None:
        self._of: dict[Side, list[tuple[str, str]]] = {
            "settled": [(url.rstrip("/"), key) for url in gateways],
            "did": [(url.rstrip("/"), engine_key) for url in engines],
        }
        self._read = 0
        self._silent: list[str] = []

    def subtracted(self, client: httpx.Client) -> Reconciliation:
        self._read, self._silent = 0, []
        sums: dict[Side, Sketch] = {}
        counts: dict[Side, int] = {}
        for side, ends in self._of.items():
            sums[side], counts[side] = Sketch(), 0
            for url, key in ends:
                answer = self._get(client, url, "/v1/ledger", key, side=side)
                if answer is None:
                    continue
                state = answer.json()
                sums[side] += Sketch.from_bytes(b64decode(state["sketches"][side]))
                counts[side] += state["calls"][side]
        differing = {f"{name:016x}": by for name, by in (sums["settled"] - sums["did"]).decode().items()}
        lines: dict[Side, list[dict[str, Any]]] = {"settled": [], "did": []}
        names = sorted(differing)
        for side, ends in self._of.items():
            for url, key in ends:
                for start in range(0, len(names), AT_ONCE):
                    lines[side] += self._lines(client, url, key, side, names[start : start + AT_ONCE])
        found = _compared(lines["settled"], lines["did"])
        # What is kept no longer has no line: the sketches know by how much it differs all the same.
        differences = tuple(
            found.get(name) or Difference(name, max(0, by), max(0, -by)) for name, by in differing.items()
        )
        return Reconciliation(
            counts["settled"], counts["did"], differences, self._read, tuple(dict.fromkeys(self._silent))
        )

    def joined(self, client: httpx.Client) -> Reconciliation:
        self._read, self._silent = 0, []
        lines: dict[Side, list[dict[str, Any]]] = {
            side: [line for url, key in ends for line in self._lines(client, url, key, side)]
            for side, ends in self._of.items()
        }
        found = _compared(lines["settled"], lines["did"])
        differences = tuple(one for one in found.values() if one.settled != one.did)
        return Reconciliation(
            len(lines["settled"]),
            len(lines["did"]),
            differences,
            self._read,
            tuple(dict.fromkeys(self._silent)),
        )

    def _lines(
        self, client: httpx.Client, url: str, key: str, side: Side, calls: Sequence[str] | None = None
    ) -> list[dict[str, Any]]:
        more = {} if calls is None else {"call": list(calls)}
        answer = self._get(client, url, "/v1/ledger/calls", key, side=side, **more)
        return [] if answer is None else [json.loads(line) for line in answer.text.splitlines()]

    def _get(self, client: httpx.Client, url: str, path: str, key: str, **more: Any) -> httpx.Response | None:
        """None from one that keeps no ledger."""
        try:
            answer = client.get(url + path, params=more, headers={"authorization": f"Bearer {key}"})
        except httpx.InvalidURL as error:
            raise InvalidRequest(
                f"{url} is no address.", "An address is such as http://127.0.0.1:8000."
            ) from error
        except httpx.HTTPError as error:
            raise ServingError(
                f"{url} cannot be asked for its ledger: {type(error).__name__}.", "Is it running?"
            ) from error
        if answer.status_code == 404:
            self._silent.append(url)
            return None
        if answer.status_code != 200:
            raise ServingError(
                f"{url} does not tell its ledger: {answer.status_code} {answer.text[:200]}",
                "It is told to an administrator's key: suresql key create NAME --scope admin.",
            )
        self._read += len(answer.content)
        return answer


def _compared(settled: list[dict[str, Any]], did: list[dict[str, Any]]) -> dict[str, Difference]:
    """By call, what both sides' lines come to."""
    lines: dict[str, dict[Side, list[dict[str, Any]]]] = defaultdict(lambda: {"settled": [], "did": []})
    for line in settled:
        lines[line["call"]]["settled"].append(line)
    for line in did:
        lines[line["call"]]["did"].append(line)
    return {call: _of(call, sides["settled"], sides["did"]) for call, sides in lines.items()}


def _of(call: str, settled: list[dict[str, Any]], did: list[dict[str, Any]]) -> Difference:
    known = settled + did
    return Difference(
        call,
        sum(int(line["tokens"]) for line in settled),
        sum(int(line["tokens"]) for line in did),
        next((str(line["request"]) for line in known if line["request"] != "-"), "-"),
        next((str(line["key"]) for line in known if line["key"] != "-"), "-"),
        next((str(line["why"]) for line in settled if line.get("why")), ""),
    )
