"""/healthz and /readyz: for whoever starts and stops replicas.  They need no token and tell no more than words."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel

from keyserver import problems
from keyserver.service.readiness import Readiness, Word

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """The process answers."""

    status: str = "ok"


class Ready(BaseModel):
    """Whether requests should be sent here: `ready`, `not_ready` or `stopping`, and how each check ended."""

    status: str
    checks: dict[str, Word] = {}


async def _readiness(request: Request) -> Readiness:
    readiness: Readiness = request.app.state.readiness
    return readiness


async def _stopping(request: Request) -> bool:
    return bool(request.app.state.admission.stopping)


@router.get("/healthz", summary="Whether the server answers", responses=problems.documented(500))
async def health() -> Health:
    """Says nothing about database and root: restarting does not cure those."""
    return Health()


@router.get(
    "/readyz",
    summary="Whether the server can do its work",
    responses={503: {"description": "It cannot, now", "model": Ready}, **problems.documented(500)},
)
def ready(
    response: Response,
    readiness: Annotated[Readiness, Depends(_readiness)],
    stopping: Annotated[bool, Depends(_stopping)],
) -> Ready:
    """Checks the database, the root, the audit log and what its witnesses have said, at most once a second."""
    if stopping:
        response.status_code = 503
        return Ready(status="stopping")
    checks = readiness.check()
    if any(word not in (Word.OK, Word.LATE) for word in checks.values()):
        response.status_code = 503
        return Ready(status="not_ready", checks=dict(checks))
    return Ready(status="ready", checks=dict(checks))
