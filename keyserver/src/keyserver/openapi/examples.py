"""An example of every request and answer, made of the models themselves.

Keys, ciphertexts, tokens and signatures in them are made up; the recipient is Alice's public
key of RFC 7748, section 6.1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from uuid import UUID

from pydantic import BaseModel

from faceseal.wire import (
    Approval,
    AuditEntry,
    AuditOutcome,
    AuditPage,
    BindKey,
    BreakGlass,
    Checkpoint,
    Consistency,
    CreateKey,
    CreateKeys,
    GlassBroken,
    Grant,
    GrantPage,
    GrantPolicy,
    GrantState,
    KeyCreated,
    KeyInfo,
    KeyMatch,
    KeyMatches,
    KeyPage,
    KeysCreated,
    KeyState,
    NewKey,
    PersonalData,
    PhotoHistory,
    PolicyInfo,
    PurposeCode,
    Receipt,
    Release,
    Released,
    RequestGrant,
    SealedKeys,
    encode_base64url,
)
from keyserver.actions import Action
from keyserver.audit import Entry, Outcome
from keyserver.audit.entry import Hidden

KEY_ID = UUID("019e3a52-7c41-7b8e-9d2f-5a6b7c8d9e0f")
OTHER_KEY_ID = UUID("019e3a52-7c41-7b8e-9d30-112233445566")
GRANT_ID = UUID("019e3a58-0b17-7c2d-8e4f-aabbccddeeff")
RECIPIENT = bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
HASH = bytes.fromhex("c3a59d6e0f1b2748")
CREATED_AT = 1_799_990_000
ASKED_AT = 1_800_000_000
_DAY = 86400
_JKT = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
_GRANT_TOKEN = "eyJ0eXAiOiJyZXN0b3JlLWdyYW50K2p3dCJ9.eyJqdGkiOiIwMTllM2E1OCJ9.c2lnbmF0dXJl"
_CURSOR = "AAAAAGtKNKABnjpYCxd8LY5PqrvM3e7_c2lnbmVkIGJ5IHRoZSBzZXJ2ZXI"


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _sealed(keys: int = 1) -> bytes:
    return b"".join(_digest(f"ciphertext {part}") for part in range(keys + 1)) + bytes(range(16))


_KEY = KeyInfo(
    id=KEY_ID,
    state=KeyState.ACTIVE,
    created_at=CREATED_AT,
    created_by="camera-7",
    labels={"album": "summer"},
    sealed_digest=None,
)
_BOUND = _KEY.model_copy(update={"sealed_digest": _digest("the sealed photo's pixels")})
_SUSPENDED = _BOUND.model_copy(update={"state": KeyState.SUSPENDED})
_SCHEDULED = _BOUND.model_copy(
    update={"state": KeyState.DESTRUCTION_SCHEDULED, "destruction_due_at": ASKED_AT + 7 * _DAY}
)
_PENDING = Grant(
    id=GRANT_ID,
    state=GrantState.PENDING,
    key_ids=[KEY_ID],
    purpose="correction of a published story",
    purpose_code=PurposeCode.JOURNALISTIC_REVIEW,
    reference="desk 4/17",
    requested_by="reporter",
    requested_at=ASKED_AT,
    valid_for=_DAY,
    uses_left=1,
    decided_by=None,
    expires_at=None,
    jkt=_JKT,
    token=None,
)
_APPROVED = _PENDING.model_copy(
    update={
        "state": GrantState.APPROVED,
        "decided_by": "editor",
        "expires_at": ASKED_AT + 60 + _DAY,
        "approvals": [Approval(approver="editor", at=ASKED_AT + 60)],
    }
)
_ENTRY = Entry(
    at=ASKED_AT + 120,
    action=Action.RELEASE,
    outcome=Outcome.ALLOWED,
    actor="reporter",
    tenant="default",
    token_id="0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0f9",
    jkt=_JKT,
    key_id=KEY_ID,
    grant_id=GRANT_ID,
    recipient=RECIPIENT,
    uses_left=0,
)
_PSEUDONYM = UUID("5f3c9a1e-7b2d-4e60-9c84-1d2e3f4a5b6c")
_LEAF = _ENTRY.leaf(1207, Hidden(_PSEUDONYM, _sealed(6)))
_LOGGED = AuditEntry(
    index=1207,
    leaf=_LEAF,
    at=_ENTRY.at,
    action=_ENTRY.action.value,
    outcome=AuditOutcome.ALLOWED,
    personal=PersonalData.OPENED,
    actor="reporter",
    pseudonym=_PSEUDONYM,
    token_id=_ENTRY.token_id,
    jkt=_JKT,
    key_ids=[KEY_ID],
    grant_id=GRANT_ID,
    recipient=RECIPIENT,
    uses_left=0,
)
_CHECKPOINT = (
    f"faceseal.example/log\n1208\n{'Y2hlY2twb2ludCByb290IGhhc2ggb2YgdGhlIHRyZWU'}=\n\n"
    "— faceseal.example/log bWFkZSB1cCBzaWduYXR1cmU\n"
)
_RELEASED = Released(
    key_id=KEY_ID,
    sealed_key=_sealed(),
    receipt=Receipt(
        leaf=_LEAF,
        index=1207,
        inclusion_proof=[_digest("sibling 1"), _digest("sibling 2")],
        checkpoint=_CHECKPOINT,
        consistency_proof=[_digest("part 1"), _digest("part 2")],
    ),
)

REQUESTS: Mapping[str, BaseModel] = {
    "create_key": CreateKey(recipient=RECIPIENT, labels={"album": "summer"}),
    "create_keys": CreateKeys(recipient=RECIPIENT, keys=[NewKey(labels={"album": "summer"}), NewKey()]),
    "bind_key": BindKey(sealed_digest=_digest("the sealed photo's pixels"), perceptual_hash=HASH),
    "request_grant": RequestGrant(
        key_ids=[KEY_ID],
        purpose_code=PurposeCode.JOURNALISTIC_REVIEW,
        purpose="correction of a published story",
        reference="desk 4/17",
    ),
    "release_key": Release(grant=_GRANT_TOKEN, recipient=RECIPIENT, known_size=1000),
    "break_glass": BreakGlass(
        recipient=RECIPIENT, purpose_code=PurposeCode.MEDICAL_TREATMENT, reference="ward 3, bed 2"
    ),
}
"""By operation."""
ANSWERS: Mapping[str, BaseModel] = {
    "create_key": KeyCreated(key=_KEY, sealed_key=_sealed()),
    "create_keys": KeysCreated(
        created_at=CREATED_AT,
        key_ids=[KEY_ID, OTHER_KEY_ID],
        sealed=[SealedKeys(recipient=RECIPIENT, sealed_keys=_sealed(2))],
    ),
    "list_keys": KeyPage(keys=[_BOUND], next=_CURSOR),
    "look_up_keys": KeyMatches(matches=[KeyMatch(key=_BOUND, distance=3)]),
    "get_key": _BOUND,
    "bind_key": _BOUND,
    "revoke_key": _SUSPENDED,
    "suspend_key": _SUSPENDED,
    "resume_key": _BOUND,
    "schedule_destruction": _SCHEDULED,
    "cancel_destruction": _SUSPENDED,
    "release_key": _RELEASED,
    "break_glass": GlassBroken(
        grant=_PENDING.model_copy(
            update={
                "state": GrantState.EXHAUSTED,
                "purpose": "medical_treatment",
                "purpose_code": PurposeCode.MEDICAL_TREATMENT,
                "reference": "ward 3, bed 2",
                "valid_for": 300,
                "uses_left": 0,
                "expires_at": ASKED_AT + 300,
                "quorum": 0,
                "policy_version": 1,
                "break_glass": True,
            }
        ),
        released=_RELEASED,
    ),
    "request_grant": _PENDING,
    "list_grants": GrantPage(grants=[_APPROVED], next=None),
    "get_grant": _APPROVED.model_copy(update={"token": _GRANT_TOKEN}),
    "approve_grant": _APPROVED,
    "deny_grant": _PENDING.model_copy(update={"state": GrantState.DENIED, "decided_by": "editor"}),
    "revoke_grant": _APPROVED.model_copy(update={"state": GrantState.REVOKED}),
    "get_policy": PolicyInfo(version=1, set_at=CREATED_AT, policy=GrantPolicy(quorum=2, break_glass_role="emergency")),
    "get_checkpoint": Checkpoint(checkpoint=_CHECKPOINT),
    "get_consistency": Consistency(old_size=1000, size=1208, proof=[_digest("part 1"), _digest("part 2")]),
    "search_audit": AuditPage(entries=[_LOGGED], next=_CURSOR),
    "photo_history": PhotoHistory(
        keys=[KeyMatch(key=_BOUND, distance=0)],
        entries=[
            _LOGGED.model_copy(
                update={
                    "purpose_code": PurposeCode.JOURNALISTIC_REVIEW.value,
                    "purpose": "correction of a published story",
                    "reference": "desk 4/17",
                }
            )
        ],
    ),
}
"""What the operation answers if it succeeds."""
PARAMETERS: Mapping[str, object] = {
    "key_id": str(KEY_ID),
    "grant_id": str(GRANT_ID),
    "label": ["album:summer"],
    "created_by": "camera-7",
    "created_after": CREATED_AT,
    "created_before": ASKED_AT,
    "requested_by": "reporter",
    "actor": "reporter",
    "action": "release",
    "outcome": "allowed",
    "after": CREATED_AT,
    "before": ASKED_AT,
    "perceptual_hash": encode_base64url(HASH),
    "limit": 20,
    "old_size": 1000,
    "size": 1208,
    "witnessed": False,
}
"""By name, in path or query."""
CONFLICTS: Mapping[str, str] = {
    "bind_key": "the key is bound to another photo",
    "revoke_key": "the key is being destroyed, or is destroyed",
    "suspend_key": "the key is being destroyed, or is destroyed",
    "resume_key": "the key is being destroyed, or is destroyed",
    "schedule_destruction": "the key is destroyed",
    "cancel_destruction": "no destruction is ahead that could be cancelled",
    "request_grant": "no key carries these labels; label keys first, or request by other labels",
    "approve_grant": "the grant is already decided",
    "deny_grant": "the grant is already decided",
    "revoke_grant": "the grant is not in force",
}
"""Of the operations whose own state can be in the way; others conflict if the kept answer is gone."""
