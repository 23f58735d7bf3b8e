"""Signatures by the Standard Webhooks convention (standardwebhooks.com), version 1: symmetric.

Signed is ``id.timestamp.body``; the header holds ``v1,`` and the HMAC-SHA256 in base64.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from uuid import UUID

SECRET_BYTES = 32


def shown_secret(secret: bytes) -> str:
    """The secret as receivers' libraries take it."""
    return "whsec_" + base64.b64encode(secret).decode("ascii")


def signature(secret: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """What the header `webhook-signature` holds; `timestamp` is the attempt's, in seconds since 1970."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode("ascii")


def signed_headers(secret: bytes, message_id: UUID, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of one attempt."""
    return {
        "webhook-id": str(message_id),
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(secret, str(message_id), timestamp, body),
    }
