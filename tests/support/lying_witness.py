"""Whatever may answer in a witness's place on loopback: each answer is what the test says."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Answer = tuple[int, dict[str, str], bytes]


@dataclass
class LyingWitness:
    """answer: of a request's body, status, headers and body.  flood: bytes that follow without end."""

    url: str = ""
    answer: Callable[[bytes], Answer] = lambda _: (500, {}, b"")
    flood: bool = False
    drip: bool = False
    """The answer's body comes a byte every tenth of a second, for ever."""
    asked: list[bytes] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def says(self, status: int, body: str | bytes = b"", **headers: str) -> None:
        content = body.encode() if isinstance(body, str) else body
        self.answer = lambda _: (status, headers, content)

    def names(self, *sizes: int) -> None:
        """A conflict each time, with these sizes in turn, the last one for ever."""
        left = list(sizes)

        def answer(_: bytes) -> Answer:
            size = left.pop(0) if len(left) > 1 else left[0]
            return 409, {"Content-Type": "text/x.tlog.size"}, f"{size}\n".encode()

        self.answer = answer


@contextmanager
def running_lying_witness(certificate: Path | None = None) -> Iterator[LyingWitness]:
    """Over TLS with this certificate and its key (PEM), if there is one."""
    peer = LyingWitness()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            peer.asked.append(body)
            status, headers, content = peer.answer(body)
            try:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)
                while peer.flood and not peer.ended.is_set():
                    self.wfile.write(b"x" * 65536)
                while peer.drip and not peer.ended.wait(0.1):
                    self.wfile.write(b"x")
            except OSError:
                return

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    peer.url = f"http{'' if certificate is None else 's'}://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield peer
    finally:
        peer.ended.set()
        server.shutdown()
        server.server_close()
