"""A tenant's policy on the wire, and what webhooks are told."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from faceseal.wire.fields import MAX_QUORUM, MAX_USES, MAX_VALIDITY, Identifier, Message, Role, ShortText, Timestamp
from faceseal.wire.grants import Grant
from faceseal.wire.words import PurposeCode


class GrantPolicy(Message):
    """What a tenant's grants have to keep to.  The defaults hold before any policy is set."""

    request_subjects: Annotated[list[ShortText], Field(max_length=1000)] | None = None
    request_roles: Annotated[list[Role], Field(max_length=100)] | None = None
    """Who may request: the subjects and whoever has one of the roles; everybody, if neither is given."""
    purposes: list[PurposeCode] = Field(default_factory=lambda: [*PurposeCode], min_length=1, max_length=20)
    quorum: Annotated[int, Field(ge=0, le=MAX_QUORUM)] = 1
    """Different approvers, none of them the requester; with 0 a request is in force at once."""
    longest_validity: Annotated[int, Field(ge=1, le=MAX_VALIDITY)] = MAX_VALIDITY
    """Seconds."""
    most_uses: Annotated[int, Field(ge=1, le=MAX_USES)] = MAX_USES
    approvals_expire: Annotated[int, Field(ge=1, le=MAX_VALIDITY)] | None = None
    """Seconds after which an approval no longer counts, unless the grant came into force; None: it does not end."""
    break_glass_role: Role | None = None
    """Who has it may have a key released without approval; None: nobody may."""


class PolicyInfo(Message):
    """GET /v1/policy: the tenant's policy for grants that are requested from now on."""

    version: int
    """0: none was set."""
    set_at: Timestamp | None
    policy: GrantPolicy


class GrantEvent(StrEnum):
    """What webhooks are told."""

    REQUESTED = "grant.requested"
    APPROVED = "grant.approved"
    """By one approver; there may have to be more."""
    IN_FORCE = "grant.in_force"
    DENIED = "grant.denied"
    REVOKED = "grant.revoked"
    RELEASED = "grant.released"
    BREAK_GLASS = "grant.break_glass"
    TEST = "webhook.test"
    """Sent by the operator to see whether a receiver works; about no grant."""


class WebhookMessage(Message):
    """The body of a webhook (POST by the server; headers by the Standard Webhooks convention)."""

    id: Identifier
    """The same at every attempt: a receiver that has seen it need not look again."""
    event: GrantEvent
    time: Timestamp
    """When it happened, not when it was sent."""
    tenant: Annotated[str, StringConstraints(max_length=64)]
    actor: ShortText
    key_id: Identifier | None
    """Of a release."""
    grant: Grant | None
    """Without its token."""
