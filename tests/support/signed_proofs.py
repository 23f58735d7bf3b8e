"""DPoP proofs of any content, correctly signed, and what the server says to them."""

from __future__ import annotations

import hashlib
import json
import secrets
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
)
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from hypothesis import strategies as st
from jwt.algorithms import get_default_algorithms

from faceseal.wire import encode_base64url
from keyserver.tokens.dpop import ProofRefused, verify_proof
from keyserver.tokens.nonces import Nonces

NOW = 1_800_000_000
URL = "https://keys.example/v1/keys/7/release"
ALGORITHMS: dict[str, Any] = get_default_algorithms()
TOKEN = "an access token"
NONCES = Nonces(b"s" * 32)
ED25519 = Ed25519PrivateKey.generate()
P256 = generate_ec(SECP256R1())
CLAIMS = {
    "jti": "0123456789abcdef",
    "htm": "POST",
    "htu": URL,
    "iat": NOW,
    "ath": encode_base64url(hashlib.sha256(TOKEN.encode()).digest()),
    "nonce": NONCES.fresh_nonce(NOW),
}


def public_jwk(private: Any) -> dict[str, Any]:
    kinds = {EllipticCurvePrivateKey: "ES256", RSAPrivateKey: "RS256"}
    algorithm = next((name for kind, name in kinds.items() if isinstance(private, kind)), "EdDSA")
    jwk = ALGORITHMS[algorithm].to_jwk(private.public_key(), as_dict=True)
    return {name: value for name, value in jwk.items() if name != "key_ops"}


def signed(
    claims: object = CLAIMS, header: dict[str, Any] | None = None, private: Any = ED25519, algorithm: str = "EdDSA"
) -> str:
    """A proof with this very payload, correctly signed; members of the header that are None are left out."""
    full = {"typ": "dpop+jwt", "alg": algorithm, "jwk": public_jwk(private), **(header or {})}
    full = {name: value for name, value in full.items() if value is not None}
    return assembled(json.dumps(full).encode(), as_bytes(claims), private, algorithm)


def assembled(header: bytes, payload: bytes, private: Any = ED25519, algorithm: str = "EdDSA") -> str:
    start = f"{encode_base64url(header)}.{encode_base64url(payload)}"
    return f"{start}.{encode_base64url(ALGORITHMS[algorithm].sign(start.encode(), private))}"


def fresh_proof(private: Any, method: str, url: str, access_token: str, now: int, **changes: Any) -> str:
    """A proof as a client makes it for one request, with these claims added or changed; None leaves one out."""
    ath = encode_base64url(hashlib.sha256(access_token.encode()).digest())
    claims = {"jti": secrets.token_urlsafe(16), "htm": method, "htu": url, "iat": now, "ath": ath}
    kept = {name: value for name, value in {**claims, **changes}.items() if value is not None}
    return signed(kept, private=private, algorithm="ES256" if isinstance(private, EllipticCurvePrivateKey) else "EdDSA")


def as_bytes(claims: object) -> bytes:
    return claims if isinstance(claims, bytes) else json.dumps(claims).encode()


def why(proof: str, **request: Any) -> str:
    asked = {"method": "POST", "url": URL, "access_token": TOKEN, "now": NOW, "nonces": NONCES, **request}
    with pytest.raises(ProofRefused) as refusal:
        verify_proof(proof, **asked)
    assert str(refusal.value) == "the DPoP proof does not count"
    return refusal.value.why.value


def accepted(proof: str, **request: Any) -> bool:
    asked = {"method": "POST", "url": URL, "access_token": TOKEN, "now": NOW, "nonces": NONCES, **request}
    try:
        verify_proof(proof, **asked)
    except ProofRefused:
        return False
    return True


GOOD = signed()
GOOD_P256 = signed(private=P256, algorithm="ES256")

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
