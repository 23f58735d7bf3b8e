"""Grants."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from faceseal.wire import jsonschema
from faceseal.wire.fields import (
    MAX_USES,
    MAX_VALIDITY,
    Cursor,
    Identifier,
    Label,
    Message,
    ShortText,
    Thumbprint,
    Timestamp,
)
from faceseal.wire.words import AnyPurpose, GrantState, PurposeCode


def require_purpose(code: PurposeCode, text: str | None) -> None:
    """Raises ValueError unless it is said what for."""
    if code is PurposeCode.OTHER and text is None:
        raise ValueError("say in purpose what for, or name another purpose_code than other")


class RequestGrant(Message):
    """POST /v1/grants: ask to have keys released to the asker."""

    model_config = ConfigDict(json_schema_extra={"allOf": [jsonschema.ONE_SELECTOR, jsonschema.PURPOSE_STATED]})

    key_ids: Annotated[list[Identifier], Field(max_length=100, json_schema_extra={"uniqueItems": True})] = []
    labels: Annotated[dict[Label, Label], Field(max_length=16), jsonschema.LABELS] = {}
    """Instead of key_ids: all keys that carry each of these labels when the grant is approved."""
    purpose_code: AnyPurpose = PurposeCode.OTHER
    purpose: ShortText | None = None
    """Free text; must be there if the code is other."""
    reference: ShortText | None = None
    """Whatever the asker's files call the case."""
    uses: Annotated[int, Field(ge=1, le=MAX_USES)] = 1
    valid_for: Annotated[int, Field(ge=1, le=MAX_VALIDITY)] = 86400
    """Seconds from the approval, or from not_before if that is later."""
    not_before: Timestamp | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if bool(self.key_ids) == bool(self.labels):
            raise ValueError("either key_ids or labels says which keys")
        require_purpose(self.purpose_code, self.purpose)
        return self


class Approval(Message):
    """One approver's yes."""

    approver: ShortText
    at: Timestamp


class Grant(Message):
    """A grant as its requester or an approver sees it."""

    id: Identifier
    state: GrantState
    key_ids: list[Identifier]
    """Of a grant by labels: none before it is approved."""
    purpose: ShortText
    """The free text; without one, the code again."""
    requested_by: ShortText
    requested_at: Timestamp
    valid_for: int
    uses_left: int
    decided_by: ShortText | None
    """Who denied it, or whose approval was the last that it took."""
    expires_at: Timestamp | None
    """None until approved."""
    jkt: Thumbprint | None
    """The requester's key, which alone can use the grant; None in old grants, which nobody can use."""
    token: Annotated[str, StringConstraints(max_length=4096)] | None
    """The signed grant (JWT, typ restore-grant+jwt); only for its requester, once approved."""
    labels: Annotated[dict[Label, Label], jsonschema.LABELS] = {}
    purpose_code: PurposeCode = PurposeCode.OTHER
    reference: ShortText | None = None
    not_before: Timestamp | None = None
    quorum: int = 1
    """As many different approvers are needed."""
    approvals: Annotated[list[Approval], Field(max_length=100)] = []
    """The latest; also those that are too old to count."""
    policy_version: int = 0
    """Of the tenant's policy when the grant was requested; 0 is the one that holds before any is set."""
    break_glass: bool = False


class GrantPage(Message):
    """The grants that the asker may see."""

    grants: list[Grant]
    next: Cursor | None = None
    """To be sent with the same question for the grants that follow; None if there are no more."""
