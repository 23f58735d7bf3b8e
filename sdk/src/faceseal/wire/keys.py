"""Image keys."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from faceseal.wire import jsonschema
from faceseal.wire.fields import (
    MOST_KEYS_AT_ONCE,
    MOST_ON_A_PAGE,
    Cursor,
    Digest,
    HpkeCiphertext,
    Identifier,
    Label,
    LabelText,
    Message,
    PerceptualHash,
    PublicKey,
    SealedBatch,
    ShortText,
    Timestamp,
    parse_label,
)
from faceseal.wire.words import KeyState


class CreateKey(Message):
    """POST /v1/keys: make an image key and send it sealed to `recipient` (X25519)."""

    recipient: PublicKey
    labels: Annotated[dict[Label, Label], Field(max_length=16), jsonschema.LABELS] = {}


class KeyInfo(Message):
    """What the server says about a key; never the key itself."""

    id: Identifier
    state: KeyState
    created_at: Timestamp
    created_by: ShortText
    labels: Annotated[dict[Label, Label], jsonschema.LABELS]
    sealed_digest: Digest | None
    """SHA-256 of the sealed photo's pixels, once bound."""
    destruction_due_at: Timestamp | None = None
    """When the key is, or was, to be destroyed; None unless that is scheduled."""


class KeyCreated(Message):
    """The new key, sealed for its creator alone."""

    key: KeyInfo
    sealed_key: HpkeCiphertext
    """The image key, HPKE-sealed to the request's recipient."""


class BindKey(Message):
    """PUT /v1/keys/{id}/sealed: tie a key to the one photo that was sealed with it."""

    sealed_digest: Digest
    perceptual_hash: PerceptualHash | None = None
    """By which the key is found when the photo has lost its metadata."""


class KeyPage(Message):
    """The keys that the asker may see, and were asked for; newest first."""

    keys: list[KeyInfo]
    next: Cursor | None = None
    """To be sent with the same question for the keys that follow; None if there are no more."""


class SearchKeys(BaseModel):
    """GET /v1/keys: all of what is given must fit.  A query's values are text, so they are parsed leniently."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    label: Annotated[list[LabelText], Field(max_length=16)] = []
    """NAME:VALUE each; a colon in the name is written with a backslash before it."""
    state: KeyState | None = None
    created_by: ShortText | None = None
    created_after: Timestamp | None = None
    """Created then or later."""
    created_before: Timestamp | None = None
    """Created earlier than that."""
    cursor: Cursor | None = None
    limit: Annotated[int, Field(ge=1, le=MOST_ON_A_PAGE)] = MOST_ON_A_PAGE

    def labels(self) -> list[tuple[str, str]]:
        """Names and values."""
        return [parse_label(text) for text in self.label]


class NewKey(Message):
    """One key of a batch."""

    recipient: PublicKey | None = None
    """None: the batch's."""
    labels: Annotated[dict[Label, Label], Field(max_length=16), jsonschema.LABELS] = {}


class CreateKeys(Message):
    """POST /v1/keys/batch: make image keys, all or none, and send them sealed to their recipients (X25519)."""

    model_config = ConfigDict(json_schema_extra=jsonschema.EVERY_KEY_HAS_A_RECIPIENT)

    recipient: PublicKey | None = None
    """Of the keys that name no other."""
    keys: Annotated[list[NewKey], Field(min_length=1, max_length=MOST_KEYS_AT_ONCE)]

    @model_validator(mode="after")
    def _every_key_has_a_recipient(self) -> CreateKeys:
        if self.recipient is None and any(key.recipient is None for key in self.keys):
            raise ValueError("there is a key without a recipient")
        return self

    def recipients(self) -> list[bytes]:
        """The recipient of each key, in order."""
        return [key.recipient or self.recipient or b"" for key in self.keys]


class SealedKeys(Message):
    """The keys of one recipient, in the order of the request, in one HPKE ciphertext."""

    recipient: PublicKey
    sealed_keys: SealedBatch


class KeysCreated(Message):
    """The new keys' ids, in the order of the request; and the keys, sealed for each recipient."""

    created_at: Timestamp
    key_ids: Annotated[list[Identifier], Field(min_length=1, max_length=MOST_KEYS_AT_ONCE)]
    sealed: Annotated[list[SealedKeys], Field(min_length=1, max_length=MOST_KEYS_AT_ONCE)]


class KeyMatch(Message):
    """A key that may be a photo's.  distance: differing bits of 64; 0 also if the photo's digest is the key's."""

    key: KeyInfo
    distance: Annotated[int, Field(ge=0, le=64)]


class KeyMatches(Message):
    """GET /v1/keys/lookup: nearest first."""

    matches: Annotated[list[KeyMatch], Field(max_length=32)]
