"""/v1/grants"""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from faceseal.wire import Cursor, Grant, GrantPage, GrantState, Identifier, PurposeCode, RequestGrant, ShortText
from keyserver.actions import Action
from keyserver.routes.authentication import WithCaller, WithPorts, authenticated_router, documentation
from keyserver.service import grant_search, grants
from keyserver.service.grant_search import PAGE, GrantSearch

router = authenticated_router("/v1/grants", "grants")


class GrantQuery(BaseModel):
    """The query of a list of grants; a word that is not known is refused, for it would be ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    state: GrantState | None = None
    requested_by: ShortText | None = None
    key_id: Identifier | None = None
    purpose: PurposeCode | None = None
    cursor: Cursor | None = None
    limit: Annotated[int, Field(ge=1, le=PAGE)] = PAGE


@router.post(
    "",
    status_code=201,
    summary="Request a grant",
    **documentation(Action.REQUEST_GRANT, 400, 404, 409, 413, 422, proven=True),
)
def request_grant(request: RequestGrant, ports: WithPorts, caller: WithCaller) -> Grant:
    """For the key of the proof that comes along; pending until enough others approve, or one denies."""
    return grants.request_grant(ports, caller, request)


@router.get("", summary="List grants", **documentation(Action.READ_GRANTS, 422))
def list_grants(query: Annotated[GrantQuery, Query()], ports: WithPorts, caller: WithCaller) -> GrantPage:
    """The caller's own, or the tenant's for an approver; newest first, a page at a time."""
    search = GrantSearch(query.state, query.requested_by, query.key_id, query.purpose, query.cursor, query.limit)
    return grant_search.list_grants(ports, caller, search)


@router.get("/{grant_id}", summary="Show a grant", **documentation(Action.READ_GRANTS, 404, 422))
def get_grant(grant_id: Identifier, ports: WithPorts, caller: WithCaller) -> Grant:
    """With its token, for its requester while it is in force."""
    return grants.get_grant(ports, caller, grant_id)


@router.post("/{grant_id}/approve", summary="Approve a grant", **documentation(Action.APPROVE_GRANT, 404, 409, 422))
def approve_grant(grant_id: Identifier, ports: WithPorts, caller: WithCaller) -> Grant:
    """Never one's own."""
    return grants.approve_grant(ports, caller, grant_id)


@router.post("/{grant_id}/deny", summary="Deny a grant", **documentation(Action.DENY_GRANT, 404, 409, 422))
def deny_grant(grant_id: Identifier, ports: WithPorts, caller: WithCaller) -> Grant:
    """Never one's own."""
    return grants.deny_grant(ports, caller, grant_id)


@router.post("/{grant_id}/revoke", summary="Revoke a grant", **documentation(Action.REVOKE_GRANT, 404, 409, 422))
def revoke_grant(grant_id: Identifier, ports: WithPorts, caller: WithCaller) -> Grant:
    """By an approver or its requester."""
    return grants.revoke_grant(ports, caller, grant_id)
