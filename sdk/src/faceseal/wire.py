"""What goes over the wire between the SDK and the key server, defined once for both sides.

Rules that hold for every model here:
1. unknown fields are refused, and nothing is coerced from another type;
2. every string and list has an upper bound;
3. binary values are unpadded base64url, and decode to exactly the stated length;
4. times are whole seconds since 1970-01-01 UTC.
"""

from __future__ import annotations

import base64
import binascii
import re
from enum import StrEnum
from typing import Annotated, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    StringConstraints,
    model_validator,
)

from faceseal import wireschema

PROBLEM_BASE = "urn:faceseal:problem:"
"""Prefix of the `type` of every RFC 9457 problem document that the server sends."""
MAX_RESPONSE_BYTES = 1 << 20
"""No answer of the server is longer."""
MAX_KEYS_IN_GRANT = 1000
"""A grant by labels is not for more keys."""
MAX_VALIDITY = 90 * 86400
"""Seconds that a grant is in force, at most."""
MAX_USES = 1000
MAX_QUORUM = 5


def encode_base64url(value: bytes) -> str:
    """Unpadded base64url (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode("ascii")


def decode_base64url(text: str) -> bytes:
    """Strict inverse of `encode_base64url`: no padding, no foreign characters, canonical bits.

    Raises ValueError.
    """
    try:
        value = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as cause:
        raise ValueError("not base64url") from cause
    if encode_base64url(value) != text:
        raise ValueError("not canonical base64url")
    return value


AS_BASE64URL = PlainSerializer(encode_base64url, return_type=str)


def bytes_of(length: int) -> PlainValidator:
    """Accepts exactly `length` bytes, or their base64url."""

    def parse(value: object) -> bytes:
        if isinstance(value, bytes):
            decoded = value
        elif isinstance(value, str) and len(value) == (length * 4 + 2) // 3:
            decoded = decode_base64url(value)
        else:
            raise ValueError("not base64url of the right length")
        if len(decoded) != length:
            raise ValueError("wrong length")
        return decoded

    return PlainValidator(parse, json_schema_input_type=str)


MOST_KEYS_AT_ONCE = 1000
"""Keys that one request creates at most."""


def _sealed_batch(value: object) -> bytes:
    # Encapsulation (32), encrypted image keys (32 each), AEAD tag (16).
    longest = 32 + 32 * MOST_KEYS_AT_ONCE + 16
    if isinstance(value, str) and len(value) <= (longest * 4 + 2) // 3:
        value = decode_base64url(value)
    if not isinstance(value, bytes) or not 80 <= len(value) <= longest or (len(value) - 48) % 32:
        raise ValueError("not the ciphertext of image keys")
    return value


SealedBatch = Annotated[bytes, PlainValidator(_sealed_batch, json_schema_input_type=str), AS_BASE64URL]
"""HPKE ciphertext of one or more image keys, one after the other."""
PerceptualHash = Annotated[bytes, bytes_of(8), AS_BASE64URL, wireschema.base64url(8, "A perceptual hash")]
"""See `faceseal.perceptual`."""
Digest = Annotated[bytes, bytes_of(32), AS_BASE64URL, wireschema.base64url(32, "A SHA-256 digest")]
PublicKey = Annotated[bytes, bytes_of(32), AS_BASE64URL, wireschema.PUBLIC_KEY]
HpkeCiphertext = Annotated[
    bytes, bytes_of(32 + 32 + 16), AS_BASE64URL, wireschema.base64url(80, "HPKE ciphertext of an image key")
]
"""X25519 encapsulation (32), encrypted image key (32), AEAD tag (16)."""


ShortText = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=wireschema.VISIBLE_PATTERN)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=wireschema.LABEL_PATTERN)]
Role = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._:/-]+$")]
Timestamp = Annotated[int, Field(ge=0, le=1 << 40)]
Cursor = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9_-]+$")]
"""Where a page ends; means something to the server alone."""
MOST_ON_A_PAGE = 100


_LABEL_TEXT = re.compile(r"((?:[A-Za-z0-9._/ -]|\\:)+):([A-Za-z0-9._:/ -]+)")


def label_text(name: str, value: str) -> str:
    """A label as text, NAME:VALUE; a colon in the name is written with a backslash before it."""
    return name.replace(":", r"\:") + ":" + value


def parse_label(text: str) -> tuple[str, str]:
    """Inverse of `label_text`.  Raises ValueError."""
    found = _LABEL_TEXT.fullmatch(text)
    name, value = (found[1].replace(r"\:", ":"), found[2]) if found else ("", "")
    if not 0 < len(name) <= 64 >= len(value):
        raise ValueError("a label is NAME:VALUE, of at most 64 letters, digits, spaces and ._:/- each")
    return name, value


LabelText = Annotated[str, StringConstraints(min_length=3, max_length=200, pattern=wireschema.LABEL_TEXT_PATTERN)]


def _thumbprint(text: str) -> str:
    decode_base64url(text)
    return text


Thumbprint = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{43}$"), AfterValidator(_thumbprint)]
"""SHA-256 thumbprint of a public key (RFC 7638), 43 characters."""


class Message(BaseModel):
    """Base of all wire models: strict, closed, immutable."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


def _uuid(value: object) -> UUID:
    if isinstance(value, UUID):
        return value
    if isinstance(value, str) and len(value) == 36 and str(UUID(value)) == value:
        return UUID(value)
    raise ValueError("not a UUID")


Identifier = Annotated[
    UUID,
    PlainValidator(_uuid, json_schema_input_type=str),
    PlainSerializer(str, return_type=str),
    wireschema.IDENTIFIER,
]


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


class CreateKey(Message):
    """POST /v1/keys: make an image key and send it sealed to `recipient` (X25519)."""

    recipient: PublicKey
    labels: Annotated[dict[Label, Label], Field(max_length=16), wireschema.LABELS] = {}


class KeyInfo(Message):
    """What the server says about a key; never the key itself."""

    id: Identifier
    state: KeyState
    created_at: Timestamp
    created_by: ShortText
    labels: Annotated[dict[Label, Label], wireschema.LABELS]
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
    labels: Annotated[dict[Label, Label], Field(max_length=16), wireschema.LABELS] = {}


class CreateKeys(Message):
    """POST /v1/keys/batch: make image keys, all or none, and send them sealed to their recipients (X25519)."""

    model_config = ConfigDict(json_schema_extra=wireschema.EVERY_KEY_HAS_A_RECIPIENT)

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


def _require_purpose(code: PurposeCode, text: str | None) -> None:
    if code is PurposeCode.OTHER and text is None:
        raise ValueError("say in purpose what for, or name another purpose_code than other")


class RequestGrant(Message):
    """POST /v1/grants: ask to have keys released to the asker."""

    model_config = ConfigDict(json_schema_extra={"allOf": [wireschema.ONE_SELECTOR, wireschema.PURPOSE_STATED]})

    key_ids: Annotated[list[Identifier], Field(max_length=100, json_schema_extra={"uniqueItems": True})] = []
    labels: Annotated[dict[Label, Label], Field(max_length=16), wireschema.LABELS] = {}
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
        _require_purpose(self.purpose_code, self.purpose)
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
    labels: Annotated[dict[Label, Label], wireschema.LABELS] = {}
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


class Release(Message):
    """POST /v1/keys/{id}/release: one use of a grant."""

    grant: Annotated[str, StringConstraints(min_length=1, max_length=4096)]
    recipient: PublicKey


class Receipt(Message):
    """Proof that a release is in the audit log (RFC 6962, section 2.1.1)."""

    leaf: Annotated[str, StringConstraints(max_length=16384)]
    """The entry's canonical JSON (RFC 8785); its UTF-8 bytes are the leaf."""
    index: Annotated[int, Field(ge=0)]
    inclusion_proof: Annotated[list[Digest], Field(max_length=63)]
    checkpoint: Annotated[str, StringConstraints(max_length=4096)]
    """C2SP tlog-checkpoint, signed."""


class Released(Message):
    """One image key for one request, and the proof that the release is logged."""

    key_id: Identifier
    sealed_key: HpkeCiphertext
    receipt: Receipt


class BreakGlass(Message):
    """POST /v1/keys/{id}/break-glass: have one key released at once, without anybody's approval."""

    model_config = ConfigDict(json_schema_extra={"allOf": [wireschema.PURPOSE_STATED]})

    recipient: PublicKey
    purpose_code: AnyPurpose
    purpose: ShortText | None = None
    """Free text; must be there if the code is other."""
    reference: ShortText

    @model_validator(mode="after")
    def _complete(self) -> Self:
        _require_purpose(self.purpose_code, self.purpose)
        return self


class GlassBroken(Message):
    """The key, and the grant that was made for it; its id is in the release's HPKE info."""

    grant: Grant
    released: Released


class Checkpoint(Message):
    """GET /v1/audit/checkpoint."""

    checkpoint: Annotated[str, StringConstraints(max_length=4096)]


class Problem(BaseModel):
    """RFC 9457 problem document (application/problem+json)."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    type: Annotated[str, StringConstraints(max_length=200)]
    title: Annotated[str, StringConstraints(max_length=200)]
    status: int
    detail: Annotated[str, StringConstraints(max_length=1000)] = ""
