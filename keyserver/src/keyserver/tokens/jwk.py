"""An issuer's published keys (RFC 7517), parsed strictly into keys that each verify one algorithm.

Two kinds of fault:
- a *set* that has two readings (no strict JSON, too many keys, one `kid` for two keys) is
  refused as a whole, and what was fetched before it stays in force;
- a *key* that must not verify tokens is left out, and the others count: one for encryption
  (`use`, `key_ops`; issuers publish these beside the others), one of an unknown kind, and
  one that is no secret any more, because its private or symmetric members were published.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

from faceseal.wire import decode_base64url
from keyserver.tokens.jws import Algorithm, PublicKey, VerificationKey, is_kid
from keyserver.tokens.strictjson import parse_json

MAX_DOCUMENT_BYTES = 256 * 1024
MAX_KEYS = 100
RSA_BITS = range(2048, 8192 + 1)
"""Below, it can be broken; above, checking one signature would keep the server busy."""
RSA_EXPONENTS = range(65537, 1 << 32)
_SECRET_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_CURVES = {"P-256": (Algorithm.ES256, SECP256R1(), 32), "P-384": (Algorithm.ES384, SECP384R1(), 48)}


class KeyFault(StrEnum):
    """Why a published key verifies nothing."""

    MALFORMED = "malformed"
    SECRET_PUBLISHED = "secret_published"
    USE = "use"
    KEY_OPS = "key_ops"
    UNSUPPORTED = "unsupported"
    ALGORITHM = "algorithm"
    """`alg` is not one of this key, or the issuer may not use it, or two are left to choose from."""
    WEAK = "weak"


class KeyRefused(Exception):
    """A published key that verifies nothing; `why` is for the log."""

    def __init__(self, why: KeyFault) -> None:
        super().__init__(f"a published key is not used: {why.value}")
        self.why = why


class KeySetRefused(Exception):
    """A document that is no key set, or one with two readings."""


@dataclass(frozen=True)
class KeySet:
    """What an issuer's tokens are verified with."""

    keys: tuple[VerificationKey, ...] = ()
    left_out: tuple[KeyFault, ...] = ()

    def find(self, kid: str | None) -> VerificationKey | None:
        """The key of this name; without a name, the only key if there is just one."""
        if kid is None:
            return self.keys[0] if len(self.keys) == 1 else None
        return next((key for key in self.keys if key.kid == kid), None)


def parse_key_set(document: bytes, allowed: frozenset[Algorithm]) -> KeySet:
    """The keys of a JWK set that verify one of the allowed algorithms.  Raises KeySetRefused."""
    if len(document) > MAX_DOCUMENT_BYTES:
        raise KeySetRefused("the key set is too long")
    try:
        parsed = parse_json(document)
    except ValueError:
        raise KeySetRefused("the key set is not strict JSON") from None
    entries = parsed.get("keys") if isinstance(parsed, dict) else None
    if not isinstance(entries, list) or len(entries) > MAX_KEYS:
        raise KeySetRefused(f"the key set is not an object with at most {MAX_KEYS} keys")
    names = [entry["kid"] for entry in entries if isinstance(entry, dict) and isinstance(entry.get("kid"), str)]
    if len(set(names)) != len(names):
        raise KeySetRefused("two keys of the set have one kid")
    keys, left_out = [], []
    for entry in entries:
        try:
            keys.append(parse_key(entry, allowed))
        except KeyRefused as refusal:
            left_out.append(refusal.why)
    return KeySet(tuple(keys), tuple(left_out))


def parse_key(jwk: object, allowed: frozenset[Algorithm]) -> VerificationKey:
    """A public key for verifying one of the allowed algorithms.  Raises KeyRefused.

    Members that RFC 7517 does not know are ignored, as its section 4 wants; so are
    certificates (x5c, x5t, x5u), which are not followed.
    """
    if not isinstance(jwk, dict):
        raise KeyRefused(KeyFault.MALFORMED)
    if jwk.keys() & _SECRET_MEMBERS or jwk.get("kty") == "oct":
        raise KeyRefused(KeyFault.SECRET_PUBLISHED)
    _check_use(jwk)
    if "kid" in jwk and not is_kid(jwk["kid"]):
        raise KeyRefused(KeyFault.MALFORMED)
    try:
        possible, public = _public_key(jwk)
    except ValueError:
        raise KeyRefused(KeyFault.MALFORMED) from None
    if "alg" in jwk:
        possible &= {jwk["alg"]} if isinstance(jwk["alg"], str) else set()
    possible &= allowed
    if len(possible) != 1:
        raise KeyRefused(KeyFault.ALGORITHM)
    return VerificationKey(jwk.get("kid"), Algorithm(possible.pop()), public)


def _check_use(jwk: Mapping[str, object]) -> None:
    """RFC 7517, sections 4.2 and 4.3: what the key may be used for."""
    if "use" in jwk and jwk["use"] != "sig":
        raise KeyRefused(KeyFault.USE)
    if "key_ops" not in jwk:
        return
    operations = jwk["key_ops"]
    if not isinstance(operations, list) or not all(isinstance(operation, str) for operation in operations):
        raise KeyRefused(KeyFault.KEY_OPS)
    if "verify" not in operations or len(set(operations)) != len(operations):
        raise KeyRefused(KeyFault.KEY_OPS)


def _public_key(jwk: Mapping[str, object]) -> tuple[set[str], PublicKey]:
    """Which algorithms the key can verify, and the key.  Raises KeyRefused, ValueError."""
    kind, curve = jwk.get("kty"), jwk.get("crv")
    if kind == "OKP" and curve == "Ed25519":
        return {Algorithm.EDDSA}, Ed25519PublicKey.from_public_bytes(_bytes(jwk, "x", 32))
    if kind == "EC" and isinstance(curve, str) and curve in _CURVES:
        algorithm, parameters, length = _CURVES[curve]
        x, y = (int.from_bytes(_bytes(jwk, name, length)) for name in ("x", "y"))
        # Refuses a point that is not on the curve.
        return {algorithm}, EllipticCurvePublicNumbers(x, y, parameters).public_key()
    if kind == "RSA":
        modulus, exponent = _integer(jwk, "n"), _integer(jwk, "e")
        if modulus.bit_length() not in RSA_BITS or exponent not in RSA_EXPONENTS:
            raise KeyRefused(KeyFault.WEAK)
        if modulus % 2 == 0 or exponent % 2 == 0:
            raise KeyRefused(KeyFault.MALFORMED)
        return {Algorithm.RS256, Algorithm.PS256}, RSAPublicNumbers(exponent, modulus).public_key()
    raise KeyRefused(KeyFault.UNSUPPORTED)


def _bytes(jwk: Mapping[str, object], name: str, length: int) -> bytes:
    text = jwk.get(name)
    if not isinstance(text, str) or len(text) != (length * 4 + 2) // 3:
        raise ValueError(f"{name} is not base64url of {length} bytes")
    return decode_base64url(text)


def _integer(jwk: Mapping[str, object], name: str) -> int:
    """RFC 7518, section 2 (Base64urlUInt): as few bytes as it takes."""
    text = jwk.get(name)
    if not isinstance(text, str) or len(text) > RSA_BITS[-1] // 6 + 1:
        raise ValueError(f"{name} is not a bounded base64url integer")
    value = decode_base64url(text)
    if value[:1] in (b"", b"\0"):
        raise ValueError(f"{name} is not a Base64urlUInt")
    return int.from_bytes(value)
