"""/v1/audit"""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from faceseal.wire import AuditPage, Checkpoint, Consistency, LogSize, PhotoHistory, SearchAudit, SearchPhoto
from keyserver.actions import Action
from keyserver.routes.authentication import WithCaller, WithPorts, authenticated_router, documentation
from keyserver.service import audit_search, checkpoint

router = authenticated_router("/v1/audit", "audit")


@router.get("/checkpoint", summary="The audit log's signed checkpoint", **documentation(Action.READ_AUDIT, 404, 422))
def get_checkpoint(ports: WithPorts, caller: WithCaller, witnessed: bool = False) -> Checkpoint:
    """Size and root of the log, signed by the log, and by the witnesses that have cosigned this very checkpoint.

    With `witnessed`, the newest checkpoint that enough witnesses have cosigned, which is some seconds old; 404 if
    there is none.
    """
    return checkpoint.shown_checkpoint(ports, caller, witnessed)


@router.get("/consistency", summary="Proof that the log continues", **documentation(Action.PROVE_LOG, 422))
def get_consistency(
    ports: WithPorts,
    caller: WithCaller,
    old_size: Annotated[LogSize, Query()],
    size: Annotated[LogSize | None, Query()] = None,
) -> Consistency:
    """From the log as it was with `old_size` entries to the one of `size`, or of now."""
    return checkpoint.prove_consistency(ports, caller, old_size, size)


@router.get("/entries", summary="Search the audit log", **documentation(Action.SEARCH_AUDIT, 422))
def search_audit(ports: WithPorts, caller: WithCaller, search: Annotated[SearchAudit, Query()]) -> AuditPage:
    """The tenant's entries, a page of them, newest first; the search itself is on record."""
    return audit_search.search_audit(ports, caller, search)


@router.get("/photo", summary="Who has seen this photo?", **documentation(Action.SEARCH_AUDIT, 422))
def photo_history(ports: WithPorts, caller: WithCaller, search: Annotated[SearchPhoto, Query()]) -> PhotoHistory:
    """Requests, approvals, releases and refusals of the photo's keys, newest first; the search itself is on record."""
    return audit_search.photo_history(ports, caller, search)
