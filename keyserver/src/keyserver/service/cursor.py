"""Where the next page begins, in words that only this server can make.

A cursor is ``position || HMAC-SHA256``, in base64url.  It is bound to the tenant and to the
query that it continues, so that it serves for no other; the position itself is no secret.
"""

from __future__ import annotations

import hashlib
import hmac

from faceseal.wire import decode_base64url, encode_base64url
from keyserver.errors import RequestInvalid

LONGEST_CURSOR = 500
_TAG_BYTES = 32


class Cursors:
    """Makes and opens cursors; every replica with the same secret takes what another one made."""

    def __init__(self, secret: bytes) -> None:
        """`secret` may serve for other things too: the key is derived from it."""
        self._key = hmac.digest(secret, b"faceseal-keyserver/1 cursors", hashlib.sha256)

    def issue(self, tenant: str, query: str, position: bytes) -> str:
        """The cursor for what comes behind the position (at most 300 bytes)."""
        return encode_base64url(position + self._tag(tenant, query, position))

    def open(self, tenant: str, query: str, cursor: str) -> bytes:
        """The position.  Raises RequestInvalid for a cursor that was not made for this tenant and query."""
        try:
            if len(cursor) > LONGEST_CURSOR:
                raise ValueError
            signed = decode_base64url(cursor)
            position, tag = signed[:-_TAG_BYTES], signed[-_TAG_BYTES:]
            if not hmac.compare_digest(tag, self._tag(tenant, query, position)):
                raise ValueError
        except ValueError:
            raise RequestInvalid("the cursor does not continue this query; begin again without it") from None
        return position

    def _tag(self, tenant: str, query: str, position: bytes) -> bytes:
        # Each part after its length: no two lists of parts give the same bytes.
        parts = (tenant.encode(), query.encode(), position)
        return hmac.digest(self._key, b"".join(len(part).to_bytes(4) + part for part in parts), hashlib.sha256)
