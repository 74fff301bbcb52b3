"""The one shape of every error: {"error": {"type", "message", "hint"}}, with a status that fits."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from .errors import InvalidRequest, MalformedBody, ServingError, TooLarge

log = logging.getLogger(__name__)


def error_response(error: ServingError) -> JSONResponse:
    headers = {"retry-after": str(error.retry_after_s)} if error.retry_after_s else None
    return _respond(error.status, error.type, error.message, error.hint, headers)


def install(app: FastAPI) -> None:
    """Make every failure of `app`'s routes answer in the one shape."""

    @app.exception_handler(ServingError)
    async def _serving(_request: Request, error: ServingError) -> JSONResponse:
        if error.status >= 500 and not error.retry_after_s:
            log.error("%s: %s", error.type, error.message)
        return error_response(error)

    @app.exception_handler(RequestValidationError)
    async def _validation(_request: Request, error: RequestValidationError) -> JSONResponse:
        return error_response(_of_validation(error))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == 400:  # FastAPI's word for a body that it could not read
            return error_response(
                MalformedBody("The body is not JSON.", 'Send {"question": ..., "database": ...}.')
            )
        hints = {404: "See /docs for what there is.", 405: "See /docs for the methods."}
        message = f"{error.detail}: {request.method} {request.url.path[:200]}"
        return _respond(
            error.status_code, "http", message, hints.get(error.status_code, ""), dict(error.headers or {})
        )

    @app.exception_handler(Exception)
    async def _unforeseen(_request: Request, error: Exception) -> JSONResponse:
        log.error("unforeseen %s", type(error).__name__, exc_info=error)
        return _respond(
            500, "internal", "Something went wrong that should not have.", "See the server's log.", None
        )


def _of_validation(error: RequestValidationError) -> ServingError:
    first: dict[str, Any] = dict(error.errors()[0])
    kind = str(first.get("type", ""))
    where = ".".join(str(part)[:64] for part in first.get("loc", ())[1:])
    if kind == "json_invalid":
        return MalformedBody("The body is not JSON.", 'Send {"question": ..., "database": ...}.')
    if kind == "string_too_long":
        most = first.get("ctx", {}).get("max_length")
        return TooLarge(f"The field {where!r} is longer than {most:,} characters.", "Shorten it.")
    if kind == "extra_forbidden":
        return InvalidRequest(f"There is no field {where!r}.", "See /docs for the fields.")
    if not where:
        return InvalidRequest(
            "The body is not a JSON object.",
            "Send an object, with the header content-type: application/json.",
        )
    return InvalidRequest(
        f"The field {where!r} is not as expected: {first.get('msg', '')}.", "See /docs for the fields."
    )


def _respond(status: int, kind: str, message: str, hint: str, headers: dict[str, str] | None) -> JSONResponse:
    body = {"error": {"type": kind, "message": _clean(message), "hint": _clean(hint)}}
    return JSONResponse(body, status_code=status, headers=headers)


def _clean(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()  # half a surrogate pair would break the answer
