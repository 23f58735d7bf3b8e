"""Reading the audit log: searching its entries, and who has seen a photo."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from faceseal.wire import jsonschema
from faceseal.wire.fields import (
    MOST_ON_A_PAGE,
    Cursor,
    Digest,
    Identifier,
    Label,
    Message,
    PerceptualHash,
    PublicKey,
    ShortText,
    Thumbprint,
    Timestamp,
)
from faceseal.wire.keys import KeyMatch

MAX_LEAF = 64 * 1024
"""Characters; the longest entries name the 1,000 keys that the labels of a grant fit."""
Word = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[a-z_.]+$")]
"""An action, such as release or grant.approve."""
FirstKept = Annotated[int, Field(ge=0)]
"""Number of the oldest entry that can be searched: those before it were put away, into files of the operator's."""


class AuditOutcome(StrEnum):
    """How an action ended."""

    ALLOWED = "allowed"
    DENIED = "denied"
    FAILED = "failed"


class PersonalData(StrEnum):
    """What became of what an entry says of a person."""

    CLEAR = "clear"
    """It stands in the leaf itself: of the operator, or of before version 2."""
    OPENED = "opened"
    ERASED = "erased"
    """Its key was deleted; nobody can open it."""
    BROKEN = "broken"
    """Its key is there and does not open it: somebody has altered the database."""


class AuditEntry(Message):
    """An entry as the log has it, and what it says."""

    index: Annotated[int, Field(ge=0)]
    leaf: Annotated[str, StringConstraints(min_length=2, max_length=MAX_LEAF)]
    """The bytes that are hashed, as text: canonical JSON (RFC 8785)."""
    at: Timestamp
    action: Word
    outcome: AuditOutcome
    personal: PersonalData
    actor: ShortText | None
    """Who did it; None if that was erased, or does not open."""
    pseudonym: Identifier | None = None
    """What the leaf calls the actor."""
    token_id: Annotated[str, StringConstraints(max_length=200)] | None = None
    jkt: Thumbprint | None = None
    """Thumbprint of the client's key that the request was proved with."""
    key_ids: Annotated[list[Identifier], Field(max_length=1001)] = []
    grant_id: Identifier | None = None
    recipient: PublicKey | None = None
    sealed_digest: Digest | None = None
    purpose_code: Word | None = None
    purpose: ShortText | None = None
    reference: ShortText | None = None
    labels: Annotated[dict[Label, Label], jsonschema.LABELS] = {}
    uses_left: int | None = None
    about: Identifier | None = None
    """Pseudonym of somebody else whom the entry is about."""
    reason: Annotated[str, StringConstraints(max_length=400, pattern=jsonschema.VISIBLE_PATTERN)] | None = None
    """Why it was denied, or failed."""


class AuditPage(Message):
    """GET /v1/audit/entries: newest first."""

    entries: Annotated[list[AuditEntry], Field(max_length=MOST_ON_A_PAGE)]
    next: Cursor | None = None
    """To be sent with the same question for the entries that follow; None if there are no more."""
    first_kept: FirstKept = 0


class SearchAudit(BaseModel):
    """GET /v1/audit/entries: all of what is given must fit.  Values are text, so they are parsed leniently."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    key_id: Identifier | None = None
    grant_id: Identifier | None = None
    actor: ShortText | None = None
    """By name; who was erased is found by no name."""
    action: Word | None = None
    outcome: AuditOutcome | None = None
    after: Timestamp | None = None
    """Then or later."""
    before: Timestamp | None = None
    """Earlier than that."""
    cursor: Cursor | None = None
    limit: Annotated[int, Field(ge=1, le=MOST_ON_A_PAGE)] = MOST_ON_A_PAGE


class SearchPhoto(BaseModel):
    """GET /v1/audit/photo: exactly one of the three says which photo."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    key_id: Identifier | None = None
    sealed_digest: Digest | None = None
    perceptual_hash: PerceptualHash | None = None
    cursor: Cursor | None = None
    limit: Annotated[int, Field(ge=1, le=MOST_ON_A_PAGE)] = MOST_ON_A_PAGE


class PhotoHistory(Message):
    """GET /v1/audit/photo: who asked for a photo's key, decided on it and was given it, and who was refused.

    Entries come newest first.  One under a grant says the purpose and the reference of that grant's request.
    """

    keys: Annotated[list[KeyMatch], Field(max_length=32)]
    """The keys that the photo may be sealed with, nearest first."""
    entries: Annotated[list[AuditEntry], Field(max_length=MOST_ON_A_PAGE)]
    next: Cursor | None = None
    """To be sent with the same question for the entries that follow; None if there are no more."""
    first_kept: FirstKept = 0
