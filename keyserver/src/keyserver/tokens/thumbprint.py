"""The name of a public key that anybody can compute from it (RFC 7638)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from faceseal.wire import encode_base64url

_REQUIRED = {
    "EC": ("crv", "kty", "x", "y"),
    "OKP": ("crv", "kty", "x"),
    "RSA": ("e", "kty", "n"),
}
"""RFC 7638, section 3.2; OKP is of RFC 8037, section 2."""


def thumbprint(jwk: Mapping[str, object]) -> str:
    """SHA-256 thumbprint of a public JWK, 43 characters of base64url; members that are no part of it are ignored.

    The caller has parsed the key: two spellings of one key would get two thumbprints.
    Raises ValueError if the kind of key is unknown or a member is missing.
    """
    names = _REQUIRED.get(str(jwk.get("kty")), ())
    required = {name: jwk.get(name) for name in names}
    if not names or not all(isinstance(value, str) for value in required.values()):
        raise ValueError("not a public JWK of a known kind")
    canonical = json.dumps(required, sort_keys=True, separators=(",", ":"))
    return encode_base64url(hashlib.sha256(canonical.encode()).digest())
