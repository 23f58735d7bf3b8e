"""Fuzzing a whole key server: its app, a policy under which everything can be reached, and who asks.

Alice asks for everything but for decisions on grants: those are Bob's, since nobody decides on
a grant of their own.
"""

from __future__ import annotations

import json
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fuzzing import Findings, fuzz
from signed_proofs import fresh_proof, public_jwk

from faceseal.wire import Scope
from keyserver.app import create_api, create_app
from keyserver.service import policies
from keyserver.service.ports import Ports
from keyserver.tokens.thumbprint import thumbprint

TENANT = "default"
ROLE = "emergency"
MAX_BODY_BYTES = 64 * 1024
OPERATIONS = sum(len(path) for path in create_api().openapi()["paths"].values())
DECISIONS = {"POST /v1/grants/{grant_id}/approve", "POST /v1/grants/{grant_id}/deny"}


class Asker:
    """Somebody with every scope and role, a key of their own, and a token that is bound to it or is not."""

    def __init__(self, ports: Ports, subject: str, *, bound: bool) -> None:
        self._ports = ports
        self._key = Ed25519PrivateKey.generate()
        self._scheme = "DPoP" if bound else "Bearer"
        jkt = thumbprint(public_jwk(self._key)) if bound else None
        self._token = ports.issuer.issue_access(
            subject, TENANT, frozenset(Scope), uuid4(), ports.clock(), 30 * 86400, jkt, frozenset({ROLE})
        )

    def headers(self, method: str, path: str) -> dict[str, str]:
        """Of one request, with a proof of its own."""
        now = self._ports.clock()
        nonce = self._ports.nonces.fresh_nonce(now)
        proof = fresh_proof(self._key, method, f"http://testserver{path}", self._token, now, nonce=nonce)
        return {"Authorization": f"{self._scheme} {self._token}", "DPoP": proof}


def fuzz_server(ports: Ports, *, bound: bool, quorum: int, seed: int, examples: int, chains: int) -> Findings:
    """What `fuzz` finds on the ports."""
    # Where a request is enough for a grant, there is nothing to approve or deny.
    expected = OPERATIONS - (0 if quorum else len(DECISIONS))
    policy = {"quorum": quorum, "break_glass_role": ROLE}
    policies.set_policy(ports, TENANT, policies.parse_policy(json.dumps(policy).encode()))
    alice, bob = Asker(ports, "alice", bound=bound), Asker(ports, "bob", bound=bound)

    def sign(method: str, path: str) -> dict[str, str]:
        decides = path.endswith(("/approve", "/deny"))
        return (bob if decides else alice).headers(method, path)

    app = create_app(ports, MAX_BODY_BYTES)
    return fuzz(app, sign, ports.clock(), seed=seed, examples=examples, chains=chains, expected=expected)
