"""Somebody who talks to a real server, and waiting for what it does in the background."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from server_process import ServerProcess, token_of
from signed_proofs import fresh_proof

from keyserver.settings import Settings

RECIPIENT = {"recipient": "CQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}


def eventually(found: Callable[[], Any], seconds: float = 30) -> Any:
    """What `found` returns once it is true; it fails if it never is."""
    until = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < until, "it never came"
        time.sleep(0.05)
    return result


class User:
    """Somebody of the real server, with a token and a key."""

    def __init__(self, server: ServerProcess, settings: Settings, subject: str) -> None:
        self._server, self._key = server, Ed25519PrivateKey.generate()
        self._token = token_of(settings, subject)
        self._nonce = ""

    def ask(self, method: str, path: str, body: object = None) -> httpx.Response:
        url = f"{self._server.url}{path}"
        for _ in range(2):
            proof = fresh_proof(self._key, method, url, self._token, int(time.time()), nonce=self._nonce)
            headers = {"Authorization": f"Bearer {self._token}", "DPoP": proof}
            answer = httpx.request(method, url, headers=headers, json=body, timeout=30)
            self._nonce = answer.headers.get("dpop-nonce", self._nonce)
            if answer.status_code != 401:
                break
        return answer


def released(user: User, path: str, token: str) -> httpx.Response:
    return user.ask("POST", path, {**RECIPIENT, "grant": token})
