"""One entry of the audit log, and its canonical bytes (RFC 8785)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from faceseal.wire import encode_base64url
from keyserver.actions import Action

VERSION = 1
# Ten times as fast as rfc8785, and the same where members are strings, integers of less than 53 bits and
# lists of them, and names are ASCII: a test compares the two.
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
OPERATOR = "(operator)"
"""The actor of what is done on the server's own machine."""


class Outcome(StrEnum):
    """How an action ended."""

    ALLOWED = "allowed"
    DENIED = "denied"
    FAILED = "failed"
    """Policy allowed it, and the server could not do it."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Who did or was refused what, and when (seconds since 1970).  Holds no secret: leaves are shown."""

    at: int
    action: Action
    outcome: Outcome
    actor: str
    tenant: str | None = None
    token_id: str | None = None
    """`jti` of the access token."""
    jkt: str | None = None
    """Thumbprint of the client's key, if the request came with a proof of it."""
    key_id: UUID | None = None
    key_ids: tuple[UUID, ...] = ()
    grant_id: UUID | None = None
    kek_epoch: int | None = None
    from_epochs: tuple[int, ...] = ()
    """The older epochs that keys were moved from."""
    count: int | None = None
    """How many keys, or KEKs, the action concerns."""
    sealed_digest: bytes | None = None
    recipient: bytes | None = None
    purpose: str | None = None
    purpose_code: str | None = None
    reference: str | None = None
    labels: Mapping[str, str] | None = None
    """What a grant selects keys by."""
    not_before: int | None = None
    quorum: int | None = None
    """How many approvals a grant takes; 0: it is in force with the request."""
    approvals: int | None = None
    """How many count, this one included."""
    policy_version: int | None = None
    policy_digest: bytes | None = None
    webhook_id: UUID | None = None
    receiver: str | None = None
    """Of webhooks: scheme, host and port."""
    uses: int | None = None
    valid_for: int | None = None
    expires_at: int | None = None
    uses_left: int | None = None
    due_at: int | None = None
    verifier_key: str | None = None
    """Of a key that signs the log from now on, or no longer."""
    reason: str | None = None

    def leaf(self, index: int) -> str:
        """Canonical JSON with the entry's index, so that a moved entry shows by itself."""
        fields: dict[str, str | int | list[str] | list[int] | dict[str, str] | None] = {
            "version": VERSION,
            "index": index,
            "at": self.at,
            "event": f"{self.action.value}.{self.outcome.value}",
            "actor": self.actor,
            "tenant": self.tenant,
            "token": self.token_id,
            "jkt": self.jkt,
            "key": _text(self.key_id),
            "keys": [str(key_id) for key_id in self.key_ids] or None,
            "grant": _text(self.grant_id),
            "kek_epoch": self.kek_epoch,
            "from_epochs": [*self.from_epochs] or None,
            "count": self.count,
            "sealed_digest": _binary(self.sealed_digest),
            "recipient": _binary(self.recipient),
            "purpose": self.purpose,
            "purpose_code": self.purpose_code,
            "reference": self.reference,
            "labels": dict(self.labels) if self.labels else None,
            "not_before": self.not_before,
            "quorum": self.quorum,
            "approvals": self.approvals,
            "policy_version": self.policy_version,
            "policy_digest": _binary(self.policy_digest),
            "webhook": _text(self.webhook_id),
            "receiver": self.receiver,
            "uses": self.uses,
            "valid_for": self.valid_for,
            "expires_at": self.expires_at,
            "uses_left": self.uses_left,
            "due_at": self.due_at,
            "verifier_key": self.verifier_key,
            "reason": self.reason,
        }
        return _CANONICAL.encode({name: value for name, value in fields.items() if value is not None})


def _text(identifier: UUID | None) -> str | None:
    return None if identifier is None else str(identifier)


def _binary(value: bytes | None) -> str | None:
    return None if value is None else encode_base64url(value)
