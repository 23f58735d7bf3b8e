"""What `faceseal.wire` accepts, in the words of JSON Schema: exactly that, so that nobody has to learn it by refusals.

Patterns are regular expressions of ECMA 262 (flag u), as JSON Schema wants them.
"""

from __future__ import annotations

from pydantic import WithJsonSchema
from pydantic.config import JsonDict

LABEL_PATTERN = "^[A-Za-z0-9._:/ -]+$"
LABEL_TEXT_PATTERN = r"^(?:[A-Za-z0-9._/ -]|\\:){1,64}:[A-Za-z0-9._:/ -]{1,64}$"
# No control characters, nothing that is invisible or turns the direction of writing, no line ends.
# Tag characters stand there themselves: beyond U+FFFF, dialects write escapes differently.
VISIBLE_PATTERN = (
    r"^[^\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]+$"
)
_UUID_PATTERN = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
_SMALL_ORDER = (
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAIA",
    "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAIA",
    "4Ot6fDtBuK4WVuP68Z_EatoJjeucMrH9hmIFFl9JuAA",
    "4Ot6fDtBuK4WVuP68Z_EatoJjeucMrH9hmIFFl9JuIA",
    "X5yVvKNQjCSx0LFVnIPvWwREXMRYHI6G2CJO3dCfEVc",
    "X5yVvKNQjCSx0LFVnIPvWwREXMRYHI6G2CJO3dCfEdc",
    "7P_______________________________________38",
    "7P________________________________________8",
    "7f_______________________________________38",
    "7f________________________________________8",
    "7v_______________________________________38",
    "7v________________________________________8",
)
"""The encodings of X25519's points of small order (RFC 7748, section 6.1): with them there is no shared secret."""


def base64url(length: int, what: str = "") -> WithJsonSchema:
    """Of exactly `length` bytes."""
    return WithJsonSchema(_base64url(length, what))


def _base64url(length: int, what: str) -> JsonDict:
    characters, bits = divmod(length * 8, 6)
    # What the last character may be depends on how many of its six bits are used: the others are zero.
    last = {0: "", 2: "[AQgw]", 4: "[AEIMQUYcgkosw048]"}[bits]
    return {
        "type": "string",
        "pattern": f"^[A-Za-z0-9_-]{{{characters}}}{last}$",
        "description": f"{what or 'Binary'}: {length} bytes in unpadded base64url.",
    }


IDENTIFIER = WithJsonSchema({"type": "string", "pattern": _UUID_PATTERN, "description": "A UUID in lower case."})
PUBLIC_KEY = WithJsonSchema(
    {**_base64url(32, "An X25519 public key, not of small order"), "not": {"enum": [*_SMALL_ORDER]}}
)
_LABEL: JsonDict = {"type": "string", "minLength": 1, "maxLength": 64, "pattern": LABEL_PATTERN}
LABELS = WithJsonSchema(
    {"type": "object", "maxProperties": 16, "propertyNames": _LABEL, "additionalProperties": _LABEL}
)
EVERY_KEY_HAS_A_RECIPIENT: JsonDict = {
    "anyOf": [
        {"required": ["recipient"], "properties": {"recipient": {"type": "string"}}},
        {
            "properties": {
                "keys": {"items": {"required": ["recipient"], "properties": {"recipient": {"type": "string"}}}}
            }
        },
    ]
}
PURPOSE_STATED: JsonDict = {
    "anyOf": [
        {"required": ["purpose"], "properties": {"purpose": {"type": "string"}}},
        {"required": ["purpose_code"], "properties": {"purpose_code": {"not": {"const": "other"}}}},
    ]
}
ONE_SELECTOR: JsonDict = {
    "oneOf": [
        {"required": ["key_ids"], "properties": {"key_ids": {"minItems": 1}, "labels": {"maxProperties": 0}}},
        {"required": ["labels"], "properties": {"labels": {"minProperties": 1}, "key_ids": {"maxItems": 0}}},
    ]
}
