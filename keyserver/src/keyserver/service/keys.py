"""Keys: create, bind to the photo, read."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from sqlalchemy.orm import Session

from faceseal.keytransport import KEY_BYTES, creation_info, seal_key
from faceseal.wire import BindKey, CreateKey, KeyCreated, KeyInfo, KeyPage, KeyState, SearchKeys
from keyserver import audit, keywrap, policy
from keyserver.actions import Action
from keyserver.audit import Outcome
from keyserver.errors import RequestInvalid
from keyserver.policy import Caller, Reason
from keyserver.service.deciding import Attempt, Refused, deciding, require
from keyserver.service.facts import key_facts, key_info
from keyserver.service.pages import Place
from keyserver.service.ports import Ports
from keyserver.store import keysearch, photo_hashes, queries
from keyserver.store.keysearch import KeyFilter
from keyserver.store.tables import KeyRow

UNUSABLE_RECIPIENT = "recipient is not a usable X25519 public key"


def create_key(ports: Ports, caller: Caller, request: CreateKey) -> KeyCreated:
    """Make an image key, keep it wrapped, and answer with it sealed to the request's recipient.

    Raises AccessDenied, RequestInvalid if the recipient is no usable public key, Unavailable.
    """
    key_id = ports.new_id()
    attempt = Attempt(ports, caller, Action.CREATE_KEY, ports.clock())
    with deciding(attempt) as session:
        wrapping = queries.kek_for_wrapping(session, caller.tenant)
        if wrapping is None:
            raise Refused(Reason.TENANT_UNKNOWN)
        kek = keywrap.open_kek(ports.root, wrapping.wrapped, wrapping.tenant, wrapping.epoch)
        image_key = ports.random(KEY_BYTES)
        try:
            sealed_key = seal_key(image_key, request.recipient, creation_info(key_id))
        except ValueError:
            raise RequestInvalid(UNUSABLE_RECIPIENT) from None
        row = KeyRow(
            id=key_id,
            tenant=caller.tenant,
            state=KeyState.ACTIVE,
            created_at=attempt.now,
            created_by=caller.subject,
            labels=dict(request.labels),
            sealed_digest=None,
            kek_epoch=wrapping.epoch,
            suite=keywrap.SUITE,
            wrapped=keywrap.wrap_image_key(kek, image_key, key_id, ports.random),
        )
        session.add(row)
        keysearch.add_labels(session, row)
        audit.append(session, replace(attempt.entry(Outcome.ALLOWED), key_id=key_id, kek_epoch=wrapping.epoch))
    return KeyCreated(key=key_info(row), sealed_key=sealed_key)


def bind_key(ports: Ports, caller: Caller, key_id: UUID, request: BindKey) -> KeyInfo:
    """Tie the key to the photo with this digest, once; the same digest again changes nothing.

    Raises NotFound, AccessDenied, Conflict if it is bound to another, Unavailable.
    """
    attempt = Attempt(ports, caller, Action.BIND_KEY, ports.clock(), key_id)
    with deciding(attempt) as session:
        row = visible_key(queries.key_for_change(session, key_id), caller)
        require(policy.decide_bind(caller, key_facts(row), request.sealed_digest))
        if row.sealed_digest is None:
            row.sealed_digest = request.sealed_digest
            if request.perceptual_hash is not None:
                photo_hashes.add_hash(session, row.id, row.tenant, request.perceptual_hash)
            audit.append(session, replace(attempt.entry(Outcome.ALLOWED), sealed_digest=request.sealed_digest))
    return key_info(row)


def list_keys(ports: Ports, caller: Caller, search: SearchKeys) -> KeyPage:
    """The tenant's keys that fit, newest first, a page of them.

    Raises RequestInvalid if the cursor was made for another question, AccessDenied, Unavailable.
    """
    with deciding(Attempt(ports, caller, Action.READ_KEYS, ports.clock()), writes=False) as session:
        question = ("keys", caller.tenant, search.model_dump_json(exclude={"cursor", "limit"}))
        behind = None if search.cursor is None else ports.cursors.decode(search.cursor, question)
        wanted = KeyFilter(
            search.labels(), search.state, search.created_by, search.created_after, search.created_before
        )
        place = None if behind is None else (behind.at, behind.id)
        # One more than asked for tells whether anything follows.
        rows = keysearch.search_keys(session, caller.tenant, wanted, place, search.limit + 1)
        page, last = rows[: search.limit], rows[search.limit - 1] if len(rows) > search.limit else None
        following = None if last is None else ports.cursors.encode(Place(last.created_at, last.id), question)
        return KeyPage(keys=[key_info(row) for row in page], next=following)


def get_key(ports: Ports, caller: Caller, key_id: UUID) -> KeyInfo:
    """Raises NotFound, AccessDenied, Unavailable."""
    with deciding(Attempt(ports, caller, Action.READ_KEYS, ports.clock(), key_id), writes=False) as session:
        return key_info(visible_key(queries.key(session, key_id), caller))


def require_known(session: Session, caller: Caller, key_ids: list[UUID]) -> None:
    """All the keys exist and are the caller's tenant's.  Raises Refused."""
    if len(queries.keys_of(session, caller.tenant, key_ids)) != len(key_ids):
        raise Refused(Reason.KEY_UNKNOWN)


def visible_key(row: KeyRow | None, caller: Caller) -> KeyRow:
    """The row, if it exists as far as the caller is concerned.  Raises Refused."""
    if row is None:
        raise Refused(Reason.KEY_UNKNOWN)
    require(policy.decide_key_access(caller, key_facts(row)))
    return row


def require_usable(recipient: bytes) -> None:
    """Before anything is spent on it.  Raises RequestInvalid unless keys can be sealed to it (X25519, 32 bytes)."""
    try:
        # An exchange fails for points of low order, whatever the private key.
        X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(recipient))
    except ValueError:
        raise RequestInvalid(UNUSABLE_RECIPIENT) from None
