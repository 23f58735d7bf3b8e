"""A receiver of webhooks on loopback: it checks signatures as the Standard Webhooks libraries do, and can misbehave."""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue

from faceseal.wire import WebhookMessage


@dataclass(frozen=True)
class Received:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> WebhookMessage:
        return WebhookMessage.model_validate_json(self.body)

    def is_signed_with(self, shown_secret: str) -> bool:
        """Written down from the convention, not from our own code."""
        secret = base64.b64decode(shown_secret.removeprefix("whsec_"), validate=True)
        content = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode() + self.body
        expected = base64.b64encode(hmac.new(secret, content, hashlib.sha256).digest()).decode()
        versions = [part.split(",", 1) for part in self.headers["webhook-signature"].split(" ")]
        return any(version == "v1" and hmac.compare_digest(given, expected) for version, given in versions)


@dataclass
class WebhookPeer:
    """Answers with the statuses that it is told, in order, and with 204 after those."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    arrivals: Queue[Received] = field(default_factory=Queue)
    waits: bool = False
    """Nothing is answered before `go`."""
    floods: bool = False
    """The answer's body does not end."""
    go: threading.Event = field(default_factory=threading.Event)

    def events(self) -> list[str]:
        return [received.message.event.value for received in self.received]


@contextmanager
def running_webhook_peer() -> Iterator[WebhookPeer]:
    peer = WebhookPeer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            received = Received(self.path, headers, body)
            peer.received.append(received)
            peer.arrivals.put(received)
            if peer.waits:
                peer.go.wait(20)
            try:
                self.send_response(peer.statuses.pop(0) if peer.statuses else 204)
                for name, value in peer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                while peer.floods:
                    self.wfile.write(b"x" * 65536)
            except OSError:
                return

        def do_GET(self) -> None:
            peer.arrivals.put(Received("GET " + self.path, {}, b""))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    peer.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield peer
    finally:
        peer.go.set()
        peer.floods = False
        server.shutdown()
        server.server_close()
