"""The HTTP service: questions to SQL with a confidence, statements run for reading, and schemas."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import escape
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from . import database_routes, feedback_routes, ledger_routes, responses, sql_routes
from .bodies import Problem
from .errors import Overloaded
from .gateway.front import Front
from .middleware import BodyCap
from .request_context import service_of
from .service import PipelineFactory, Service
from .settings import Settings

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": Problem, "description": "The request cannot be answered"},
    "5XX": {"model": Problem, "description": "Not ready, too busy, or broken"},
}
_DOCS = Path(__file__).with_name("docs.html")
_HOME = Path(__file__).with_name("home.html")


def create_app(settings: Settings, pipeline_factory: PipelineFactory) -> FastAPI:
    """The application; the pipeline is loaded in the background, and /readyz says when it can be asked."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service = Service(settings, pipeline_factory)
        app.state.service = service
        service.start()
        try:
            yield
        finally:
            await service.stop()

    app = FastAPI(
        title="SureSQL",
        description=__doc__,
        version="0.1.0",
        lifespan=lifespan,
        responses=_PROBLEMS,
        docs_url=None,
        redoc_url=None,
        telemetry={"tracing": False},  # serving.tracing has the spans
    )
    app.add_middleware(BodyCap)
    app.add_middleware(Front, service=lambda: app.state.service)
    responses.install(app)
    sql_routes.install(app)
    database_routes.install(app)
    _add_routes(app)
    feedback_routes.install(app)
    ledger_routes.install(app)
    return app


def _add_routes(app: FastAPI) -> None:
    @app.get("/healthz", summary="Whether the process is alive")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", summary="Whether questions can be asked", response_model=dict[str, str])
    async def readyz(request: Request) -> JSONResponse | dict[str, str]:
        service = service_of(request)
        if service.ready and service.engines_away:
            return responses.error_response(
                Overloaded("No engine answers.", "They are asked again every half a second.", 2)
            )
        if service.ready:
            return {"status": "ready"}
        if service.failure is not None:
            return responses.error_response(Overloaded(service.failure.message, service.failure.hint, 60))
        return responses.error_response(
            Overloaded("Stopping." if service.draining else "The model is loading.", "", 2)
        )

    @app.get("/metrics", include_in_schema=False)
    async def metrics(request: Request) -> Response:
        return Response(service_of(request).figures(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(_DOCS.read_text(encoding="utf-8"))

    @app.get("/", include_in_schema=False)
    async def home(request: Request) -> HTMLResponse:
        base = escape(str(request.base_url).rstrip("/"))
        return HTMLResponse(_HOME.read_text(encoding="utf-8").replace("{{base}}", base))
