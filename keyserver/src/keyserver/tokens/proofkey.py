"""The public key that a DPoP proof brings along (RFC 9449, section 4.2), parsed strictly.

1. Its JWK is exactly the public members of a P-256 or an Ed25519 key: nothing private, and
   no `use`, `key_ops`, `alg` or certificate that would ask for rules of its own;
2. a key has one spelling, so that it has one thumbprint;
3. it decides the algorithm, and no other verifies with it;
4. a signature under it must prove something: points of small order are refused, for under
   them anybody can sign.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from jwt.algorithms import get_default_algorithms

from faceseal.wire import decode_base64url
from keyserver.tokens.thumbprint import thumbprint

ALGORITHMS = ("EdDSA", "ES256")
"""Those of the keys that are taken; EdDSA is Ed25519 here."""
_COORDINATE_BYTES = 32
_ALGORITHMS = get_default_algorithms()
_ED25519_PRIME = (1 << 255) - 19
_ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_SMALL_ORDER = frozenset({0, 1, _ED25519_PRIME - 1, _ORDER_8, _ED25519_PRIME - _ORDER_8})
"""The y of all points of the curve whose order divides 8 (RFC 8032, section 5.1)."""


@dataclass(frozen=True)
class ProofKey:
    """A key that verifies with one algorithm of RFC 7518 or RFC 8037."""

    algorithm: str
    thumbprint: str
    """RFC 7638."""
    _public: EllipticCurvePublicKey | Ed25519PublicKey

    def verifies(self, signed: bytes, signature: bytes) -> bool:
        """Whether the signature (64 bytes) over these bytes is this key's."""
        return _ALGORITHMS[self.algorithm].verify(signed, self._public, signature)


def parse_proof_key(jwk: object) -> ProofKey:
    """The key of a `jwk` header.  Raises ValueError, with a text that quotes nothing."""
    if not isinstance(jwk, dict):
        raise ValueError("not a JWK")
    match jwk:
        case {"kty": "OKP", "crv": "Ed25519", "x": str(x), **rest} if not rest:
            return ProofKey("EdDSA", thumbprint(jwk), _ed25519(_coordinate(x)))
        case {"kty": "EC", "crv": "P-256", "x": str(x), "y": str(y), **rest} if not rest:
            return ProofKey("ES256", thumbprint(jwk), _p256(_coordinate(x), _coordinate(y)))
        case _:
            raise ValueError("not exactly a public key")


def _ed25519(encoded: bytes) -> Ed25519PublicKey:
    # The highest bit is the sign of x (RFC 8032, section 5.1.2).
    y = int.from_bytes(encoded, "little") & ((1 << 255) - 1)
    if y >= _ED25519_PRIME or y in _SMALL_ORDER:
        raise ValueError("a point that is spelled otherwise, or under which anybody can sign")
    return Ed25519PublicKey.from_public_bytes(encoded)


def _p256(x: bytes, y: bytes) -> EllipticCurvePublicKey:
    numbers = EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), SECP256R1())
    # Raises ValueError for a point that is not on the curve, and reduces coordinates that are too large.
    public = numbers.public_key()
    if public.public_numbers() != numbers:
        raise ValueError("a point that is spelled otherwise")
    return public


def _coordinate(text: str) -> bytes:
    value = decode_base64url(text)
    if len(value) != _COORDINATE_BYTES:
        raise ValueError("not a coordinate of 32 bytes")
    return value
