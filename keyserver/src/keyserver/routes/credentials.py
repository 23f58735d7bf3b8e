"""What a request brings along to say who is asking: an access token, and perhaps a DPoP proof.

1. There is one `Authorization` header, and at most one `DPoP` header.
2. A token that is bound to a key comes with the scheme DPoP and a proof of that key, any other
   with the scheme Bearer: neither passes for the other (RFC 9449, sections 7.1 and 7.2).
3. A proof is verified whatever the scheme, and always names the token (`ath`) and a nonce of
   this server.  Beside a bearer token it proves a key to which grants are bound.
4. A nonce is asked for only of whose token counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from fastapi import Request

from keyserver.errors import Unauthenticated
from keyserver.policy import Caller
from keyserver.service.ports import Ports
from keyserver.tokens.dpop import NonceWanted, ProofRefusal, ProofRefused, verify_proof


@dataclass(frozen=True)
class Credentials:
    """Nothing of it is verified yet.  bound: whether the token came with the scheme DPoP."""

    bound: bool
    token: str = field(repr=False)
    proof: str | None = field(repr=False)


def credentials_of(request: Request) -> Credentials:
    """Raises Unauthenticated; ProofRefused, which is one, for more than one proof, or none where one must be."""
    headers, proofs = request.headers.getlist("authorization"), request.headers.getlist("dpop")
    scheme, _, token = headers[0].partition(" ") if len(headers) == 1 else ("", "", "")
    if scheme.lower() not in ("bearer", "dpop"):
        raise Unauthenticated("there is no access token")
    if len(proofs) > 1:
        raise ProofRefused(ProofRefusal.SEVERAL)
    bound = scheme.lower() == "dpop"
    if bound and not proofs:
        raise ProofRefused(ProofRefusal.MISSING)
    return Credentials(bound, token, proofs[0] if proofs else None)


def target_url(request: Request, external_url: str | None) -> str:
    """The URL that clients have asked for, without its query.

    `external_url` is what they see in place of this server's own address: scheme, host, and the
    path, if any, that a proxy takes away.
    """
    # As it came: which escapes two spellings of a path may differ in is decided where they are compared.
    path = request.scope["raw_path"].partition(b"?")[0].decode("latin-1")
    if external_url is not None:
        return f"{external_url.rstrip('/')}{path}"
    return f"{request.url.scheme}://{request.headers.get('host', '')}{path}"


async def authenticate(request: Request, ports: Ports) -> tuple[Caller, NonceWanted | None]:
    """Who is asking, and with which key, if they proved one; and the refusal, if their proof needs another nonce.

    Raises Unauthenticated.
    """
    shown = credentials_of(request)
    proof, wanted = None, None
    if shown.proof is not None:
        url = target_url(request, ports.external_url)
        try:
            proof = verify_proof(shown.proof, request.method, url, shown.token, ports.clock(), ports.nonces)
        except NonceWanted as refusal:
            proof, wanted = refusal.proof, refusal
    proven_key = proof.jkt if proof is not None and shown.bound else None
    caller = await ports.verifier.authenticate(shown.token, ports.clock, proven_key)
    return replace(caller, proof=proof), wanted
