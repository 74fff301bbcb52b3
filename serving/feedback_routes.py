"""Labels over HTTP: what a user says of an answer, and where the calibration stands."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import FastAPI, Request
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr

from .errors import FeedbackUnavailable
from .feedback import Feedback, FeedbackState
from .gateway.caller import Scope
from .request_context import caller_of, service_of


class Label(BaseModel):
    """Whether an answer was right."""

    model_config = ConfigDict(extra="forbid")

    answer: Annotated[StrictStr, Field(min_length=1, max_length=64, description="the answer's `id`")]
    correct: StrictBool


def install(app: FastAPI) -> None:
    """Add POST and GET /v1/feedback. Every so many labels the calibration is fitted anew, beside the service."""
    running: set[asyncio.Task[FeedbackState]] = set()

    @app.post("/v1/feedback", summary="Say whether an answer was right", status_code=202)
    async def label(body: Label, request: Request) -> FeedbackState:
        caller = caller_of(request)
        caller.need(Scope.ASK)
        feedback = _feedback(request)
        state = await asyncio.to_thread(feedback.label, body.answer, body.correct, caller.tenant)
        if feedback.due() and not running:
            task = asyncio.create_task(asyncio.to_thread(feedback.refit))
            running.add(task)
            task.add_done_callback(running.discard)
        return state

    @app.get(
        "/v1/feedback", summary="Labels so far, the calibration's version, and whether confidences drift"
    )
    async def state(request: Request) -> FeedbackState:
        caller_of(request).need(Scope.ASK)
        return await asyncio.to_thread(_feedback(request).state)


def _feedback(request: Request) -> Feedback:
    found = service_of(request).feedback
    if found is None:
        raise FeedbackUnavailable("The model is not loaded yet.", "Try again once /readyz says so.")
    return found
