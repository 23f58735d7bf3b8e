"""The words that messages choose from."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field


class Scope(StrEnum):
    """What a token allows."""

    KEYS_CREATE = "keys:create"
    KEYS_RELEASE = "keys:release"
    KEYS_ADMIN = "keys:admin"
    GRANTS_REQUEST = "grants:request"
    GRANTS_APPROVE = "grants:approve"
    AUDIT_READ = "audit:read"


class KeyState(StrEnum):
    """Only an active key is released."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    DESTRUCTION_SCHEDULED = "destruction_scheduled"
    DESTROYED = "destroyed"


class GrantState(StrEnum):
    """pending -> approved | denied; approved -> revoked | expired | exhausted."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    REVOKED = "revoked"
    EXPIRED = "expired"
    EXHAUSTED = "exhausted"


class PurposeCode(StrEnum):
    """What a grant is for, in words that can be counted."""

    COURT_ORDER = "court_order"
    CRIMINAL_INVESTIGATION = "criminal_investigation"
    MEDICAL_TREATMENT = "medical_treatment"
    SUBJECT_REQUEST = "subject_request"
    """By the person in the photo."""
    JOURNALISTIC_REVIEW = "journalistic_review"
    QUALITY_CONTROL = "quality_control"
    OTHER = "other"
    """None of these: the free text says what."""


AnyPurpose = Annotated[PurposeCode, Field(strict=False)]
"""In a request: what parsed it as JSON has left the word a string."""
