"""Who may change what there is, and see what is everyone's: on an open loopback, nobody over HTTP."""

from __future__ import annotations

from fastapi import Request

from .errors import Forbidden
from .gateway.caller import ANYONE, Caller, Scope


def administrator(request: Request) -> Caller:
    """The caller, who holds an administrator's key. Raises Forbidden."""
    caller: Caller = getattr(request.state, "caller", ANYONE)
    if not request.app.state.service.settings.needs_keys:
        raise Forbidden(
            "This is done over HTTP with an administrator's key alone, and keys are off here.",
            "Use the command on the machine itself, or serve with SURESQL_KEYS=required.",
        )
    caller.need(Scope.ADMIN)
    return caller
