"""DPoP proofs: that whoever sends a token also holds the key it is bound to (RFC 9449, section 4.3).

Rules:
1. the length is bounded before anything is parsed, base64url is canonical, and no JSON object
   names a member twice;
2. the header is exactly ``typ`` (``dpop+jwt``), ``alg`` and ``jwk``; the key is a P-256 or an
   Ed25519 public key (`keyserver.tokens.proofkey`), and alone decides the algorithm;
3. the claims are ``jti``, ``htm``, ``htu``, ``iat``, and ``ath`` and ``nonce`` where they are
   asked for; no other is known;
4. method, URL, time, access token and nonce are those of the request.

What these rules cannot see: that the request has one DPoP header only, that the proof was not
used before (`keyserver.store.replay`), and that its key is the one that the token or the grant
is bound to (`Proof.jkt`).
"""

from __future__ import annotations

import hashlib
import hmac
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from faceseal.wire import Digest, Timestamp, decode_base64url
from keyserver.errors import ProofNeeded
from keyserver.proof import Proof
from keyserver.tokens.nonces import Nonces
from keyserver.tokens.proofkey import ProofKey, parse_proof_key
from keyserver.tokens.strictjson import parse_json
from keyserver.tokens.targeturl import MAX_URL_CHARACTERS, normalized_url

MAX_PROOF_CHARACTERS = 4096
OLDEST_SECONDS = 60
NEWEST_SECONDS = 5
"""How far `iat` may lie behind and ahead of this server's clock."""
_TYPE = "dpop+jwt"


class ProofRefusal(StrEnum):
    """Why a proof does not count.  For the log and for tests; outside, only NONCE shows apart from the others."""

    MISSING = "missing"
    SEVERAL = "several"

    MALFORMED = "malformed"
    HEADER = "header"
    KEY = "key"
    SIGNATURE = "signature"
    CLAIMS = "claims"
    METHOD = "method"
    URL = "url"
    TOO_OLD = "too_old"
    TOO_NEW = "too_new"
    ACCESS_TOKEN = "access_token"
    NONCE = "nonce"
    """All else was right: the client may try again with a fresh nonce (RFC 9449, section 9)."""


class ProofRefused(ProofNeeded):
    """The proof does not count; `why` is for the log."""

    def __init__(self, why: ProofRefusal) -> None:
        super().__init__("the DPoP proof does not count")
        self.why = why


class NonceWanted(ProofRefused):
    """All else was right, as `proof` says, and a fresh nonce makes it count."""

    def __init__(self, proof: Proof) -> None:
        super().__init__(ProofRefusal.NONCE)
        self.proof = proof


class _Claims(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    jti: Annotated[str, StringConstraints(pattern=r"^[!-~]{16,128}$")]
    htm: Annotated[str, StringConstraints(max_length=32)]
    htu: Annotated[str, StringConstraints(max_length=MAX_URL_CHARACTERS)]
    iat: Timestamp
    ath: Digest | None = None
    nonce: Annotated[str, StringConstraints(max_length=128)] | None = None


def verify_proof(proof: str, method: str, url: str, access_token: str | None, now: int, nonces: Nonces | None) -> Proof:
    """The proof of this very request, made within the last minute (`now` in seconds since 1970).

    `url` is the request's as clients see it.  `access_token` is the one that came along; a
    proof for a token is refused where there is none, and the reverse.  Without `nonces` none
    is asked for, and one that comes is not looked at.

    Raises ProofRefused; NonceWanted, which is one, if nothing is wrong but the nonce.
    """
    header, payload, signature, signed = _parts(proof)
    if not isinstance(header, dict) or header.keys() != {"typ", "alg", "jwk"} or header["typ"] != _TYPE:
        raise ProofRefused(ProofRefusal.HEADER)
    key = _key(header["jwk"])
    if header["alg"] != key.algorithm:
        raise ProofRefused(ProofRefusal.HEADER)
    if not key.verifies(signed, signature):
        raise ProofRefused(ProofRefusal.SIGNATURE)
    try:
        claims = _Claims.model_validate(payload)
    except ValidationError:
        raise ProofRefused(ProofRefusal.CLAIMS) from None
    if claims.htm != method:
        raise ProofRefused(ProofRefusal.METHOD)
    if not _same_url(claims.htu, url):
        raise ProofRefused(ProofRefusal.URL)
    if claims.iat < now - OLDEST_SECONDS:
        raise ProofRefused(ProofRefusal.TOO_OLD)
    if claims.iat > now + NEWEST_SECONDS:
        raise ProofRefused(ProofRefusal.TOO_NEW)
    if not _is_for(access_token, claims.ath):
        raise ProofRefused(ProofRefusal.ACCESS_TOKEN)
    found = Proof(key.thumbprint, claims.jti, claims.iat)
    if nonces is not None and not nonces.accepts(claims.nonce or "", now):
        raise NonceWanted(found)
    return found


def _parts(proof: str) -> tuple[object, object, bytes, bytes]:
    """Header and payload as JSON, the signature, and what was signed."""
    if len(proof) > MAX_PROOF_CHARACTERS or proof.count(".") != 2:
        raise ProofRefused(ProofRefusal.MALFORMED)
    try:
        header, payload, signature = (decode_base64url(part) for part in proof.split("."))
        return parse_json(header), parse_json(payload), signature, proof.rpartition(".")[0].encode("ascii")
    except ValueError:
        raise ProofRefused(ProofRefusal.MALFORMED) from None


def _key(jwk: object) -> ProofKey:
    try:
        return parse_proof_key(jwk)
    except ValueError:
        raise ProofRefused(ProofRefusal.KEY) from None


def _same_url(claimed: str, url: str) -> bool:
    try:
        return normalized_url(claimed) == normalized_url(url)
    except ValueError:
        return False


def _is_for(access_token: str | None, digest: bytes | None) -> bool:
    if access_token is None or digest is None:
        return access_token is None and digest is None
    return hmac.compare_digest(digest, hashlib.sha256(access_token.encode()).digest())
