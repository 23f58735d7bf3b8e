"""/v1/keys"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query, Request

from faceseal.wire import (
    BindKey,
    BreakGlass,
    CreateKey,
    Digest,
    GlassBroken,
    Identifier,
    KeyCreated,
    KeyInfo,
    KeyMatches,
    KeyPage,
    PerceptualHash,
    Release,
    Released,
    SearchKeys,
)
from keyserver.actions import Action
from keyserver.routes.authentication import WithCaller, WithOnce, WithPorts, authenticated_router, documentation
from keyserver.service import breakglass, keylife, keys, lookup
from keyserver.service.release import Releases

router = authenticated_router("/v1/keys", "keys")


async def _releases(request: Request) -> Releases:
    releases: Releases = request.app.state.releases
    return releases


WithReleases = Annotated[Releases, Depends(_releases)]


@router.post("", status_code=201, summary="Create an image key", **documentation(Action.CREATE_KEY, 400, 413, 422))
def create_key(request: CreateKey, ports: WithPorts, caller: WithCaller) -> KeyCreated:
    """Make an image key and answer with it, sealed to the recipient."""
    return keys.create_key(ports, caller, request)


@router.get("", summary="List or search the tenant's keys", **documentation(Action.READ_KEYS, 422))
def list_keys(ports: WithPorts, caller: WithCaller, search: Annotated[SearchKeys, Query()]) -> KeyPage:
    """A page, newest first."""
    return keys.list_keys(ports, caller, search)


@router.get(
    "/lookup", summary="Find the keys of a photo by digest or perceptual hash", **documentation(Action.READ_KEYS, 422)
)
def look_up_keys(
    ports: WithPorts,
    caller: WithCaller,
    sealed_digest: Annotated[Digest | None, Query()] = None,
    perceptual_hash: Annotated[PerceptualHash | None, Query()] = None,
) -> KeyMatches:
    """At most 32, nearest first."""
    return lookup.look_up(ports, caller, sealed_digest, perceptual_hash)


@router.get("/{key_id}", summary="Show a key", **documentation(Action.READ_KEYS, 404, 422))
def get_key(key_id: Identifier, ports: WithPorts, caller: WithCaller) -> KeyInfo:
    """All but the key itself."""
    return keys.get_key(ports, caller, key_id)


@router.put(
    "/{key_id}/sealed",
    summary="Bind a key to its sealed photo, once",
    **documentation(Action.BIND_KEY, 400, 404, 409, 413, 422),
)
def bind_key(key_id: Identifier, request: BindKey, ports: WithPorts, caller: WithCaller) -> KeyInfo:
    """By the key's creator."""
    return keys.bind_key(ports, caller, key_id, request)


@router.post("/{key_id}/revoke", summary="Suspend a key", **documentation(Action.REVOKE_KEY, 404, 409, 422))
def revoke_key(key_id: Identifier, ports: WithPorts, caller: WithCaller) -> KeyInfo:
    """The older name of `suspend`."""
    return keylife.suspend_key(ports, caller, key_id)


@router.post("/{key_id}/suspend", summary="Suspend a key", **documentation(Action.REVOKE_KEY, 404, 409, 422))
def suspend_key(key_id: Identifier, ports: WithPorts, caller: WithCaller) -> KeyInfo:
    """It is not released from now on."""
    return keylife.suspend_key(ports, caller, key_id)


@router.post("/{key_id}/resume", summary="Resume a suspended key", **documentation(Action.RESUME_KEY, 404, 409, 422))
def resume_key(key_id: Identifier, ports: WithPorts, caller: WithCaller) -> KeyInfo:
    """It is released again, under the grants that are in force."""
    return keylife.resume_key(ports, caller, key_id)


@router.post(
    "/{key_id}/schedule-destruction",
    summary="Destroy a key after the waiting period",
    **documentation(Action.SCHEDULE_DESTRUCTION, 404, 409, 422),
)
def schedule_destruction(key_id: Identifier, ports: WithPorts, caller: WithCaller) -> KeyInfo:
    """It is not released from now on."""
    return keylife.schedule_destruction(ports, caller, key_id)


@router.post(
    "/{key_id}/cancel-destruction",
    summary="Keep a key whose destruction is ahead",
    **documentation(Action.CANCEL_DESTRUCTION, 404, 409, 422),
)
def cancel_destruction(key_id: Identifier, ports: WithPorts, caller: WithCaller) -> KeyInfo:
    """It is suspended then."""
    return keylife.cancel_destruction(ports, caller, key_id)


@router.post(
    "/{key_id}/release",
    summary="Release a key under a grant",
    **documentation(Action.RELEASE, 400, 404, 413, 422, proven=True),
)
async def release_key(
    key_id: Identifier, request: Release, releases: WithReleases, caller: WithCaller, once: WithOnce
) -> Released:
    """One use of the grant by the key that it is bound to, with a receipt from the audit log."""
    return await releases.release_soon(caller, key_id, request, once)


@router.post(
    "/{key_id}/break-glass",
    summary="Release a key without approval, loudly",
    **documentation(Action.BREAK_GLASS, 400, 404, 413, 422, proven=True),
)
def break_glass(
    key_id: Identifier, request: BreakGlass, releases: WithReleases, caller: WithCaller, once: WithOnce
) -> GlassBroken:
    """For whoever has the role that the tenant's policy names."""
    return breakglass.break_glass(releases, caller, key_id, request, once)
