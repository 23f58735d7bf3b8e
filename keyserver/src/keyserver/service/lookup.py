"""Whose key is this photo's?  By its pixels' digest, or by its perceptual hash once those have changed."""

from __future__ import annotations

from sqlalchemy.orm import Session

from faceseal.wire import KeyMatch, KeyMatches
from keyserver.actions import Action
from keyserver.errors import RequestInvalid
from keyserver.policy import Caller
from keyserver.service.deciding import Attempt, deciding
from keyserver.service.facts import key_info
from keyserver.service.ports import Ports
from keyserver.store import keysearch, photo_hashes, queries

MOST_MATCHES = 32


def look_up(ports: Ports, caller: Caller, sealed_digest: bytes | None, perceptual_hash: bytes | None) -> KeyMatches:
    """The tenant's keys that are bound to this very photo, or to one that looks like it; nearest first, at most 32.

    Exactly one of digest (32 bytes) and hash (8 bytes) is given.  Raises RequestInvalid,
    AccessDenied, Unavailable.
    """
    with deciding(Attempt(ports, caller, Action.READ_KEYS, ports.clock()), writes=False) as session:
        if (sealed_digest is None) == (perceptual_hash is None):
            raise RequestInvalid("a look-up takes either sealed_digest or perceptual_hash")
        return KeyMatches(matches=matches(session, caller.tenant, sealed_digest, perceptual_hash))


def matches(
    session: Session, tenant: str, sealed_digest: bytes | None, perceptual_hash: bytes | None
) -> list[KeyMatch]:
    """The tenant's keys by one of the two, nearest first, at most 32."""
    if sealed_digest is not None:
        exact = keysearch.keys_by_digest(session, tenant, sealed_digest, MOST_MATCHES)
        return [KeyMatch(key=key_info(row), distance=0) for row in exact]
    near = [] if perceptual_hash is None else photo_hashes.nearest(session, tenant, perceptual_hash, MOST_MATCHES)
    rows = {row.id: row for row in queries.keys_of(session, tenant, [one.key_id for one in near])}
    return [KeyMatch(key=key_info(rows[one.key_id]), distance=one.distance) for one in near]
