"""One entry of the audit log, and its canonical bytes (RFC 8785)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from faceseal.wire import encode_base64url
from keyserver.actions import Action
from keyserver.audit.personal import Binding

VERSION = 2
"""Entries of version 1 have everything in the clear; what is personal is sealed since."""
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


@dataclass(frozen=True)
class Hidden:
    """What takes the place of an entry's personal fields: the actor's pseudonym, and the fields' ciphertext."""

    subject: UUID
    sealed: bytes


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
    first: int | None = None
    """Of entries that were put away: the number of the first,"""
    end: int | None = None
    """that after the last,"""
    file_sha256: bytes | None = None
    """and the digest of the file that holds them."""
    about: UUID | None = None
    """Pseudonym of somebody else whom the entry is about."""
    reason: str | None = None

    @property
    def event(self) -> str:
        """Action and outcome in one word."""
        return f"{self.action.value}.{self.outcome.value}"

    @property
    def person(self) -> tuple[str, str] | None:
        """Tenant and name of whoever did it; None for the operator.

        A token may name a subject like the operator, and stays what it is.
        """
        if self.tenant is None or (self.actor == OPERATOR and self.token_id is None):
            return None
        return self.tenant, self.actor

    def of_each(self, key_ids: Iterable[UUID]) -> list[Entry]:
        """The same for each of the keys; for a thousand, `replace` takes longer than writing them."""
        return [self._of(key_id) for key_id in key_ids]

    def _of(self, key_id: UUID) -> Entry:
        copied = object.__new__(Entry)
        copied.__dict__.update(self.__dict__, key_id=key_id)
        return copied

    def personal(self) -> bytes:
        """What says something of a person, as canonical JSON."""
        fields = {
            "actor": self.actor,
            "token": self.token_id,
            "jkt": self.jkt,
            "purpose": self.purpose,
            "reference": self.reference,
            "labels": dict(self.labels) if self.labels else None,
        }
        return _CANONICAL.encode({name: value for name, value in fields.items() if value is not None}).encode()

    def binding(self, subject: UUID) -> Binding:
        """What the personal fields are bound to."""
        return Binding(self.tenant or "", subject, self.event, self.at, self.grant_id)

    def leaf(self, index: int, hidden: Hidden | None = None) -> str:
        """Canonical JSON with the entry's index, so that a moved entry shows by itself.

        With `hidden`, nothing personal is in the clear.
        """
        shown = hidden is None
        fields: dict[str, str | int | list[str] | list[int] | dict[str, str] | None] = {
            "version": VERSION,
            "index": index,
            "at": self.at,
            "event": self.event,
            "actor": self.actor if hidden is None else str(hidden.subject),
            "sealed": None if hidden is None else encode_base64url(hidden.sealed),
            "tenant": self.tenant,
            "token": self.token_id if shown else None,
            "jkt": self.jkt if shown else None,
            "key": _text(self.key_id),
            "keys": [str(key_id) for key_id in self.key_ids] or None,
            "grant": _text(self.grant_id),
            "kek_epoch": self.kek_epoch,
            "from_epochs": [*self.from_epochs] or None,
            "count": self.count,
            "sealed_digest": _binary(self.sealed_digest),
            "recipient": _binary(self.recipient),
            "purpose": self.purpose if shown else None,
            "purpose_code": self.purpose_code,
            "reference": self.reference if shown else None,
            "labels": dict(self.labels) if self.labels and shown else None,
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
            "first": self.first,
            "end": self.end,
            # As sha256sum prints it.
            "file_sha256": None if self.file_sha256 is None else self.file_sha256.hex(),
            "about": _text(self.about),
            "reason": self.reason,
        }
        return _CANONICAL.encode({name: value for name, value in fields.items() if value is not None})


def _text(identifier: UUID | None) -> str | None:
    return None if identifier is None else str(identifier)


def _binary(value: bytes | None) -> str | None:
    return None if value is None else encode_base64url(value)
