"""/v1/grants"""

from __future__ import annotations

from faceseal.wire import Grant, GrantPage, Identifier, RequestGrant
from keyserver.actions import Action
from keyserver.routes.authentication import WithCaller, WithPorts, authenticated_router, documentation
from keyserver.service import grants

router = authenticated_router("/v1/grants", "grants")


@router.post(
    "",
    status_code=201,
    summary="Request a grant",
    **documentation(Action.REQUEST_GRANT, 404, 413, 422, proven=True),
)
def request_grant(request: RequestGrant, ports: WithPorts, caller: WithCaller) -> Grant:
    """For the key of the proof that comes along; pending until somebody else decides."""
    return grants.request_grant(ports, caller, request)


@router.get("", summary="List grants", **documentation(Action.READ_GRANTS))
def list_grants(ports: WithPorts, caller: WithCaller) -> GrantPage:
    """The caller's own, or the tenant's for an approver; at most 100, newest first."""
    return grants.list_grants(ports, caller)


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
