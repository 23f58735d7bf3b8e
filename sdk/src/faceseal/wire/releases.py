"""Releases, and their receipts."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from faceseal.wire import jsonschema
from faceseal.wire.fields import Digest, HpkeCiphertext, Identifier, LogSize, Message, PublicKey, ShortText, is_none
from faceseal.wire.grants import Grant, require_purpose
from faceseal.wire.words import AnyPurpose


class Release(Message):
    """POST /v1/keys/{id}/release: one use of a grant."""

    grant: Annotated[str, StringConstraints(min_length=1, max_length=4096)]
    recipient: PublicKey
    known_size: Annotated[LogSize | None, Field(exclude_if=is_none)] = None
    """Of the newest checkpoint that the client has: the receipt proves that the log continues it."""


class Receipt(Message):
    """Proof that a release is in the audit log (RFC 6962, section 2.1.1)."""

    leaf: Annotated[str, StringConstraints(max_length=16384)]
    """The entry's canonical JSON (RFC 8785); its UTF-8 bytes are the leaf."""
    index: Annotated[int, Field(ge=0)]
    inclusion_proof: Annotated[list[Digest], Field(max_length=63)]
    checkpoint: Annotated[str, StringConstraints(max_length=4096)]
    """C2SP tlog-checkpoint, signed."""
    consistency_proof: Annotated[list[Digest] | None, Field(max_length=64, exclude_if=is_none)] = None
    """From `known_size` to this checkpoint (RFC 6962, section 2.1.2); None if nobody asked, or if there is none."""


class Released(Message):
    """One image key for one request, and the proof that the release is logged."""

    key_id: Identifier
    sealed_key: HpkeCiphertext
    receipt: Receipt


class BreakGlass(Message):
    """POST /v1/keys/{id}/break-glass: have one key released at once, without anybody's approval."""

    model_config = ConfigDict(json_schema_extra={"allOf": [jsonschema.PURPOSE_STATED]})

    recipient: PublicKey
    purpose_code: AnyPurpose
    purpose: ShortText | None = None
    """Free text; must be there if the code is other."""
    reference: ShortText
    known_size: Annotated[LogSize | None, Field(exclude_if=is_none)] = None
    """As of a release."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        require_purpose(self.purpose_code, self.purpose)
        return self


class GlassBroken(Message):
    """The key, and the grant that was made for it; its id is in the release's HPKE info."""

    grant: Grant
    released: Released
