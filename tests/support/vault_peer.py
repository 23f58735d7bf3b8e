"""Vault's transit engine as far as a client can tell it from the real one: paths, headers, statuses, error texts."""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

TOKEN = "hvs.tests-only-token"
KEY = {
    "type": "aes256-gcm96",
    "derived": False,
    "exportable": False,
    "allow_plaintext_backup": False,
    "supports_encryption": True,
}


class VaultPeer:
    """One transit mount.  `mood` bends its answers: sealed, failing, slow, dribbling, redirecting, babbling."""

    def __init__(self) -> None:
        self.keys: dict[str, tuple[dict[str, object], bytes]] = {"keyserver-root": (dict(KEY), os.urandom(32))}
        self.mood = ""
        self.requests: list[tuple[str, str, str | None, dict[str, Any]]] = []
        self.ended = threading.Event()
        self.url = ""

    def answer(self, method: str, path: str, token: str | None, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.requests.append((method, path, token, body))
        if self.mood == "sealed":
            return 503, {"errors": ["Vault is sealed"]}
        if self.mood == "failing":
            return 500, {"errors": ["internal error"]}
        if self.mood == "babbling":
            return 200, {"data": {"ciphertext": 7, "plaintext": None}}
        if token != TOKEN:
            return 403, {"errors": ["permission denied"]}
        parts = path.split("/")
        if parts[:3] != ["", "v1", "transit"] or len(parts) != 5:
            return 404, {"errors": []}
        verb, name = parts[3:]
        if verb == "keys" and method == "GET":
            return (200, {"data": {"name": name, **self.keys[name][0]}}) if name in self.keys else (404, {"errors": []})
        if method not in ("POST", "PUT"):
            return 405, {"errors": ["unsupported operation"]}
        if name not in self.keys:
            return 400, {"errors": ["encryption key not found"]}
        aead = AESGCM(self.keys[name][1])
        aad = base64.b64decode(body.get("associated_data", ""))
        if verb == "encrypt":
            nonce = os.urandom(12)
            sealed = nonce + aead.encrypt(nonce, base64.b64decode(body["plaintext"]), aad)
            return 200, {"data": {"ciphertext": "vault:v1:" + base64.b64encode(sealed).decode(), "key_version": 1}}
        if verb == "decrypt":
            try:
                sealed = base64.b64decode(body["ciphertext"].removeprefix("vault:v1:"), validate=True)
                opened = aead.decrypt(sealed[:12], sealed[12:], aad)
            except (InvalidTag, ValueError):
                return 400, {"errors": ["cipher: message authentication failed"]}
            return 200, {"data": {"plaintext": base64.b64encode(opened).decode()}}
        return 404, {"errors": []}


@contextmanager
def running_vault() -> Iterator[VaultPeer]:
    """The peer, listening on a loopback port."""
    peer = VaultPeer()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            length = int(self.headers.get("content-length", "0"))
            body = json.loads(self.rfile.read(length)) if length else {}
            status, document = peer.answer(self.command, self.path, self.headers.get("X-Vault-Token"), body)
            content = json.dumps(document).encode()
            if peer.mood == "slow":
                peer.ended.wait(30)
            if peer.mood == "redirecting":
                self.send_response(307)
                self.send_header("location", f"{peer.url}/elsewhere")
                self.end_headers()
                return
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            if peer.mood == "dribbling":
                # Each byte comes in time; the whole never does.
                while not peer.ended.wait(0.02):
                    self.wfile.write(b" ")
                return
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = _serve  # noqa: N815

        def handle(self) -> None:
            # Clients that gave up are part of the tests.
            with suppress(OSError):
                super().handle()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    peer.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield peer
    finally:
        peer.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()
