"""What messages are made of: text, numbers and bytes, each with its bounds."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    StringConstraints,
)

from faceseal.wire import jsonschema

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
PerceptualHash = Annotated[bytes, bytes_of(8), AS_BASE64URL, jsonschema.base64url(8, "A perceptual hash")]
"""See `faceseal.perceptual`."""
Digest = Annotated[bytes, bytes_of(32), AS_BASE64URL, jsonschema.base64url(32, "A SHA-256 digest")]
PublicKey = Annotated[bytes, bytes_of(32), AS_BASE64URL, jsonschema.PUBLIC_KEY]
HpkeCiphertext = Annotated[
    bytes, bytes_of(32 + 32 + 16), AS_BASE64URL, jsonschema.base64url(80, "HPKE ciphertext of an image key")
]
"""X25519 encapsulation (32), encrypted image key (32), AEAD tag (16)."""


ShortText = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=jsonschema.VISIBLE_PATTERN)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=jsonschema.LABEL_PATTERN)]
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


LabelText = Annotated[str, StringConstraints(min_length=3, max_length=200, pattern=jsonschema.LABEL_TEXT_PATTERN)]


def _thumbprint(text: str) -> str:
    decode_base64url(text)
    return text


Thumbprint = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{43}$"), AfterValidator(_thumbprint)]
"""SHA-256 thumbprint of a public key (RFC 7638), 43 characters."""


LogSize = Annotated[int, Field(ge=0, le=1 << 53)]
"""Entries of an audit log."""


def is_none(value: object) -> bool:
    """For fields that older versions do not know: they are not sent if there is nothing to say."""
    return value is None


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
    jsonschema.IDENTIFIER,
]
