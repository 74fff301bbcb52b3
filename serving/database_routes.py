"""Databases over HTTP: which there are, what is in them, statements run for reading, and their registration."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import FastAPI, Request

from .bodies import DatabaseLine, NewDatabase, Rows, Statement
from .databases import describe, summaries
from .errors import ServingError
from .gateway.caller import Scope
from .request_context import administrator, caller_of, service_of


def install(app: FastAPI) -> None:
    """Add POST /v1/execute, and /v1/databases."""

    @app.post("/v1/execute", summary="Run one reading statement")
    async def execute(body: Statement, request: Request) -> Rows:
        service, caller = service_of(request), caller_of(request)
        caller.need(Scope.EXECUTE)
        caller.need_database(body.database)
        database = await service.database(body.database)
        status = 500
        try:
            found = await service.execute(body.sql, database)
            status = 200
        except ServingError as error:
            status = error.status
            raise
        finally:
            service.audit.write(
                caller, request.state.request_id, "/v1/execute", status, database=body.database, sql=body.sql
            )
        return Rows(columns=found.columns, rows=found.rows, truncated=found.truncated, ms=found.ms)

    @app.get("/v1/databases", summary="The databases that can be asked")
    async def databases(request: Request) -> list[DatabaseLine]:
        caller = caller_of(request)
        caller.need(Scope.ASK)
        lines = await asyncio.to_thread(summaries, service_of(request).databases)
        return [DatabaseLine(**line) for line in lines if caller.may_read(line["name"])]

    @app.post("/v1/databases", summary="Register a database", status_code=201)
    async def add(body: NewDatabase, request: Request) -> DatabaseLine:
        service, caller = service_of(request), administrator(request)
        folder = service.settings.home / "databases"
        database = await asyncio.to_thread(service.databases.add, body.name, body.url, files_in=folder)
        service.audit.write(
            caller, request.state.request_id, "/v1/databases", 201, database=body.name, what="add"
        )
        tables = [table.name for table in database.schema().tables]
        return DatabaseLine(name=body.name, dialect=database.dialect, tables=tables)

    @app.delete("/v1/databases/{name}", summary="Forget a database", status_code=204)
    async def remove(name: str, request: Request) -> None:
        service, caller = service_of(request), administrator(request)
        await asyncio.to_thread(service.databases.remove, name)
        service.audit.write(
            caller, request.state.request_id, "/v1/databases", 204, database=name, what="remove"
        )

    @app.get("/v1/databases/{name}", summary="A database's tables, columns and keys")
    async def schema(name: str, request: Request) -> dict[str, Any]:
        caller = caller_of(request)
        caller.need(Scope.ASK)
        caller.need_database(name)
        database = await service_of(request).database(name)
        return await asyncio.to_thread(describe, database)
