"""Which limit a route falls under, and asking whether there is room."""

from __future__ import annotations

from collections.abc import Collection

from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from keyserver.actions import Action
from keyserver.policy import Caller
from keyserver.rates import Kind
from keyserver.service.ratelimits import RateLimits

_KINDS = {
    Action.CREATE_KEY: Kind.CREATE,
    Action.RELEASE: Kind.RELEASE,
    Action.BREAK_GLASS: Kind.RELEASE,
    # A search is read, and is an entry itself.
    Action.SEARCH_AUDIT: Kind.OTHER,
}


def kind_of(action: Action | None, methods: Collection[str]) -> Kind:
    """Creating and releasing have limits of their own, and so has reading."""
    if action in _KINDS:
        return _KINDS[action]
    return Kind.READ if "GET" in methods else Kind.OTHER


async def admitted(request: Request, caller: Caller, kind: Kind, actions: int = 1) -> None:
    """Raises TooMany.  Goes to the database, and so to another thread, only when a slice is used up."""
    limits: RateLimits = request.app.state.rates
    if not limits.admitted_at_once(caller, kind, actions):
        await run_in_threadpool(limits.admit, caller, kind, actions)
