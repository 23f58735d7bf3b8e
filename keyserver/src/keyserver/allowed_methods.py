"""What `Allow` says of a path (RFC 9110, section 10.2.1): the methods of all its routes, not of the first one."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.routing import BaseRoute, Match, Route
from starlette.types import Scope


def allowed_methods(routes: Iterable[BaseRoute], scope: Scope) -> str:
    """The methods of the first template that fits the request's path, and of its other routes; empty if none does."""
    fitting = [route for route in routes if isinstance(route, Route) and route.matches(scope)[0] is not Match.NONE]
    same = [route for route in fitting if route.path == fitting[0].path and route.include_in_schema]
    return ", ".join(sorted({method for route in same for method in route.methods or ()}))
