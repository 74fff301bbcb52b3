"""What a request comes with: the service that it is put to, and who asks."""

from __future__ import annotations

from fastapi import Request

from .errors import Forbidden
from .gateway.caller import ANYONE, Caller, Scope
from .service import Service


def service_of(request: Request) -> Service:
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


def caller_of(request: Request) -> Caller:
    return getattr(request.state, "caller", ANYONE)


def administrator(request: Request) -> Caller:
    """The caller, who holds an administrator's key: on an open loopback that is nobody over HTTP. Raises Forbidden."""
    caller = caller_of(request)
    if not service_of(request).settings.needs_keys:
        raise Forbidden(
            "This is done over HTTP with an administrator's key alone, and keys are off here.",
            "Use the command on the machine itself, or serve with SURESQL_KEYS=required.",
        )
    caller.need(Scope.ADMIN)
    return caller
