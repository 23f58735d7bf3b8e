"""Cursors: where a page of a list ended, in a form that only this server can make.

A cursor holds the place of the page's last row, and a MAC over that place, the list, the
tenant and whatever else the list was asked with.  So nobody makes one, or takes it to another
tenant, list or question; and since it names a place and not a number of rows, what is
inserted meanwhile neither repeats nor hides a row that was there.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from faceseal.wire import decode_base64url, encode_base64url
from keyserver.errors import RequestInvalid

SECRET_BYTES = 32
_PLACE_BYTES = 8 + 16


@dataclass(frozen=True)
class Place:
    """Of a row, in a list that is sorted by time (seconds since 1970) and then by id."""

    at: int
    id: UUID


class Cursors:
    """Makes cursors and takes them back.  `question` is everything that the list depends on, tenant included."""

    def __init__(self, secret: bytes) -> None:
        """`secret` has 32 bytes and is the same on every replica.  Raises ValueError for another length."""
        if len(secret) != SECRET_BYTES:
            raise ValueError(f"the secret of the cursors has {SECRET_BYTES} bytes")
        # Derived, so that a secret that has another use as well has no other use for this key.
        self._key = HKDF(SHA256(), SECRET_BYTES, salt=None, info=b"faceseal-keyserver/1 cursor").derive(secret)

    def encode(self, place: Place, question: Sequence[str]) -> str:
        """The cursor (75 characters) of a page that ended at this place."""
        where = place.at.to_bytes(8) + place.id.bytes
        return encode_base64url(where + self._mac(where, question))

    def decode(self, cursor: str, question: Sequence[str]) -> Place:
        """Raises RequestInvalid unless `encode` made it for the same question."""
        try:
            content = decode_base64url(cursor)
        except ValueError:
            content = b""
        where, mac = content[:_PLACE_BYTES], content[_PLACE_BYTES:]
        if not hmac.compare_digest(mac, self._mac(where, question)):
            raise RequestInvalid("the cursor was not made for this list")
        return Place(int.from_bytes(where[:8]), UUID(bytes=where[8:]))

    def _mac(self, where: bytes, question: Sequence[str]) -> bytes:
        # Each part after its length: no two questions give the same bytes.
        parts = [where, *(part.encode() for part in question)]
        return hmac.digest(self._key, b"".join(len(part).to_bytes(4) + part for part in parts), hashlib.sha256)
