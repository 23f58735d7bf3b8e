"""Strict compact JWS (RFC 7515, section 7.1), by the rules of RFC 8725.

1. the length is bounded before anything is parsed;
2. there are exactly three parts of canonical base64url, without padding and spare bits;
3. the header is a JSON object whose members are `alg`, `typ` and perhaps `kid`, none named
   twice: no key brought along (jwk, jku, x5u), nothing critical (crit), nothing unknown;
4. `alg` is one of five; which one counts is decided by the key, and the header must agree.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeGuard

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import get_default_algorithms

from faceseal.wire import decode_base64url
from keyserver.tokens.refusal import Refusal, TokenRefused
from keyserver.tokens.strictjson import parse_json

LONGEST_KID = 200
_CHECKS = get_default_algorithms()

PublicKey = Ed25519PublicKey | EllipticCurvePublicKey | RSAPublicKey


class Algorithm(StrEnum):
    """Signatures that count (RFC 7518, section 3.1; RFC 8037, section 3.1); EdDSA is Ed25519 here."""

    EDDSA = "EdDSA"
    ES256 = "ES256"
    ES384 = "ES384"
    PS256 = "PS256"
    RS256 = "RS256"


@dataclass(frozen=True)
class VerificationKey:
    """A public key and the one algorithm that it verifies."""

    kid: str | None
    algorithm: Algorithm
    public: PublicKey


@dataclass(frozen=True)
class Jws:
    """A parsed token, of which nothing is verified yet."""

    algorithm: Algorithm
    typ: str
    kid: str | None
    payload: bytes = field(repr=False)
    signing_input: bytes = field(repr=False)
    signature: bytes = field(repr=False)


def parse_compact(token: str, longest: int) -> Jws:
    """The parts of a token of at most `longest` characters.  Raises TokenRefused."""
    if len(token) > longest or token.count(".") != 2:
        raise TokenRefused(Refusal.MALFORMED)
    try:
        encoded_header, payload, signature = (decode_base64url(part) for part in token.split("."))
        header = parse_json(encoded_header)
    except ValueError:
        raise TokenRefused(Refusal.MALFORMED) from None
    if not isinstance(header, dict) or not {"alg", "typ"} <= header.keys() <= {"alg", "typ", "kid"}:
        raise TokenRefused(Refusal.HEADER)
    algorithm, typ, kid = header["alg"], header["typ"], header.get("kid")
    if algorithm not in list(Algorithm) or not isinstance(typ, str) or ("kid" in header and not is_kid(kid)):
        raise TokenRefused(Refusal.HEADER)
    signing_input = token.rpartition(".")[0].encode("ascii")
    return Jws(Algorithm(algorithm), typ, kid, payload, signing_input, signature)


def is_kid(value: object) -> TypeGuard[str]:
    """Whether this names a key: 1 to 200 printable ASCII characters."""
    return isinstance(value, str) and 0 < len(value) <= LONGEST_KID and value.isascii() and value.isprintable()


def verify_signature(jws: Jws, key: VerificationKey) -> None:
    """Raises TokenRefused unless the key made this signature with its own algorithm."""
    if jws.algorithm is not key.algorithm:
        raise TokenRefused(Refusal.HEADER)
    if not _CHECKS[key.algorithm.value].verify(jws.signing_input, key.public, jws.signature):
        raise TokenRefused(Refusal.SIGNATURE)
