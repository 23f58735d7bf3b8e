"""An OIDC issuer on loopback: real keys of every algorithm, a real socket, and every way to misbehave."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

from faceseal.wire import encode_base64url
from keyserver.tokens.issuers import IssuerConfig, parse_issuers

_ALGORITHMS = get_default_algorithms()


@dataclass(frozen=True)
class Signer:
    """A private key and the algorithm that it signs with."""

    algorithm: str
    private: Any

    def jwk(self, kid: str) -> dict[str, Any]:
        public = _ALGORITHMS[self.algorithm].to_jwk(self.private.public_key(), as_dict=True)
        known = {name: public[name] for name in ("kty", "crv", "x", "y", "n", "e") if name in public}
        return {**known, "kid": kid, "use": "sig", "alg": self.algorithm}

    def sign(self, claims: object, kid: str | None = "one", typ: str = "at+jwt", **header: object) -> str:
        """A token with this very header and payload; `claims` may be bytes that are no JSON."""
        full = {"alg": self.algorithm, "typ": typ, **({} if kid is None else {"kid": kid}), **header}
        payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
        text = f"{encode_base64url(json.dumps(full).encode())}.{encode_base64url(payload)}"
        return f"{text}.{encode_base64url(_ALGORITHMS[self.algorithm].sign(text.encode(), self.private))}"


def new_signer(algorithm: str) -> Signer:
    make: dict[str, Callable[[], Any]] = {
        "EdDSA": ed25519.Ed25519PrivateKey.generate,
        "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "PS256": lambda: rsa.generate_private_key(65537, 2048),
        "RS256": lambda: rsa.generate_private_key(65537, 2048),
    }
    return Signer(algorithm, make[algorithm]())


SIGNERS = {algorithm: new_signer(algorithm) for algorithm in ("EdDSA", "ES256", "ES384", "PS256", "RS256")}


@dataclass
class Answer:
    """What the peer says on one path."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    raw: bool = False
    """The body is all that is sent, without status and headers."""
    drips: bool = False
    """After the first half, one byte now and then, until the test ends."""
    waits: bool = False
    """Nothing is sent before `OidcPeer.go`."""


class OidcPeer:
    """Answers as it is told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.go = threading.Event()
        self.over = threading.Event()
        peer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                peer.asked.append(self.path)
                peer._answer(self, peer.answers.get(self.path, Answer(b"{}", 404)))

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def publish(self, *keys: dict[str, Any], path: str = "/jwks", **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        body = json.dumps({"keys": keys}).encode()
        self.answers[path] = Answer(body, headers={"Content-Type": "application/json", **named})

    def describe(self, issuer: str | None = None, path: str = "/.well-known/openid-configuration", **more: Any) -> None:
        document = {"issuer": issuer or self.url, "jwks_uri": f"{self.url}/jwks", **more}
        self.answers[path] = Answer(json.dumps(document).encode())

    def close(self) -> None:
        """From now on connections are refused."""
        self.go.set()
        self.over.set()
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        if answer.waits:
            self.go.wait(20)
        try:
            if not answer.raw:
                handler.send_response(answer.status)
                for name, value in answer.headers.items():
                    handler.send_header(name, value)
                handler.end_headers()
            half = len(answer.body) // 2 if answer.drips else len(answer.body)
            handler.wfile.write(answer.body[:half])
            for place in range(half, len(answer.body)):
                handler.wfile.write(answer.body[place : place + 1])
                if self.over.wait(0.02):
                    return
        except OSError:
            # The client has had enough.
            return


@contextmanager
def running_peer() -> Iterator[OidcPeer]:
    peer = OidcPeer()
    try:
        yield peer
    finally:
        peer.close()


def issuer_config(issuer: str, **source: str) -> IssuerConfig:
    """An issuer whose keys are at `source`, or else at the peer's own address."""
    entry = {
        "issuer": issuer,
        "audience": "faceseal",
        "algorithms": ["EdDSA", "ES256"],
        "tenant": {"fixed": "default"},
        "scopes": {"claim": "scope", "map": {"seal": ["keys:create"]}},
        "subject_prefix": "main:",
        **(source or {"jwks_uri": f"{issuer}/jwks"}),
    }
    return parse_issuers(json.dumps([entry]).encode())[0]
