"""What this process settled with engines and what its own engine did, for an administrator to compare: `suresql ledger` does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from .gateway.calls import SIDES, Calls, Side
from .request_context import administrator, service_of

MOST_CALLS = 512


class Sums(BaseModel):
    """Of each side: how many calls, and their sketch (gateway/sketch.py) in base64."""

    calls: dict[Side, int]
    sketches: dict[Side, str]


def install(app: FastAPI) -> None:
    """Add GET /v1/ledger and /v1/ledger/calls."""

    @app.get("/v1/ledger", summary="Sums over all calls to engines, of a size that does not grow")
    def ledger(request: Request, side: Side | None = None) -> Sums:
        administrator(request)
        return Sums(**_calls(request).state(_wanted(side)))

    @app.get(
        "/v1/ledger/calls",
        summary="What is kept of some calls, or of all, a line of JSON each",
        response_class=StreamingResponse,
        responses={200: {"content": {"application/x-ndjson": {}}}},
    )
    def calls(
        request: Request,
        call: Annotated[list[str] | None, Query(max_length=MOST_CALLS)] = None,
        side: Side | None = None,
    ) -> StreamingResponse:
        administrator(request)
        found = _calls(request).lines(None if call is None else frozenset(call))
        wanted = _wanted(side)
        return StreamingResponse(
            _as_lines(line for line in found if line["side"] in wanted), media_type="application/x-ndjson"
        )


def _wanted(side: Side | None) -> tuple[Side, ...]:
    return SIDES if side is None else (side,)


def _as_lines(found: Iterator[dict[str, Any]]) -> Iterator[str]:
    many: list[str] = []
    for line in found:
        many.append(json.dumps(line, separators=(",", ":")) + "\n")
        if len(many) == 1_000:
            yield "".join(many)
            many = []
    yield "".join(many)


def _calls(request: Request) -> Calls:
    return service_of(request).calls
