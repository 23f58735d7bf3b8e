"""/v1/keys"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from faceseal.wire import BindKey, CreateKey, Identifier, KeyCreated, KeyInfo, KeyPage, Release, Released
from keyserver.actions import Action
from keyserver.routes.authentication import WithCaller, WithOnce, WithPorts, authenticated_router, documentation
from keyserver.service import keys
from keyserver.service.release import Releases

router = authenticated_router("/v1/keys", "keys")


async def _releases(request: Request) -> Releases:
    releases: Releases = request.app.state.releases
    return releases


WithReleases = Annotated[Releases, Depends(_releases)]


@router.post("", status_code=201, summary="Create an image key", **documentation(Action.CREATE_KEY, 413, 422))
def create_key(request: CreateKey, ports: WithPorts, caller: WithCaller) -> KeyCreated:
    """Make an image key and answer with it, sealed to the recipient."""
    return keys.create_key(ports, caller, request)


@router.get("", summary="List the tenant's newest keys", **documentation(Action.READ_KEYS))
def list_keys(ports: WithPorts, caller: WithCaller) -> KeyPage:
    """At most 100, newest first."""
    return keys.list_keys(ports, caller)


@router.get("/{key_id}", summary="Show a key", **documentation(Action.READ_KEYS, 404, 422))
def get_key(key_id: Identifier, ports: WithPorts, caller: WithCaller) -> KeyInfo:
    """All but the key itself."""
    return keys.get_key(ports, caller, key_id)


@router.put(
    "/{key_id}/sealed",
    summary="Bind a key to its sealed photo, once",
    **documentation(Action.BIND_KEY, 404, 409, 413, 422),
)
def bind_key(key_id: Identifier, request: BindKey, ports: WithPorts, caller: WithCaller) -> KeyInfo:
    """By the key's creator."""
    return keys.bind_key(ports, caller, key_id, request)


@router.post("/{key_id}/revoke", summary="Suspend a key", **documentation(Action.REVOKE_KEY, 404, 409, 422))
def revoke_key(key_id: Identifier, ports: WithPorts, caller: WithCaller) -> KeyInfo:
    """It is not released from now on."""
    return keys.suspend_key(ports, caller, key_id)


@router.post("/{key_id}/release", summary="Release a key under a grant", **documentation(Action.RELEASE, 404, 413, 422))
def release_key(
    key_id: Identifier, request: Release, releases: WithReleases, caller: WithCaller, once: WithOnce
) -> Released:
    """One use of the grant, with a receipt from the audit log."""
    return releases.release(caller, key_id, request, once)
