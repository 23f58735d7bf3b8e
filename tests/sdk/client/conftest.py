"""A peer for what no real key server can show: garbage, silence, floods, forgeries."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from own_folder import folder_of_the_clients_key  # noqa: F401 - a fixture
from pydantic import BaseModel

Script = Callable[["Request"], Iterable[bytes]]


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Peer:
    """An HTTP server on loopback that sends exactly the bytes that its script yields, then hangs up."""

    listener: socket.socket
    tls: ssl.SSLContext | None = None
    script: Script = lambda _: [b""]
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.url = f"{'https' if self.tls else 'http'}://localhost:{self.listener.getsockname()[1]}"

    def stop(self) -> None:
        # Closing alone would leave a thread that waits in accept, and the port open.
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            try:
                wrapped = self.tls.wrap_socket(connection, server_side=True) if self.tls else connection
                request = _read_request(wrapped)
                self.requests.append(request)
                for part in self.script(request):
                    wrapped.sendall(part)
                wrapped.shutdown(socket.SHUT_RDWR)
            except OSError:
                return


def _read_request(connection: socket.socket) -> Request:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _receive(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        body += _receive(connection)
    method, path, _ = first.split(" ")
    return Request(method, path, headers, body)


def _receive(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionError("the client hung up")
    return data


def http(status: int, body: BaseModel | bytes, media_type: str = "application/json", extra: str = "") -> bytes:
    """A well-formed HTTP response that announces what the peer does: hang up."""
    content = body if isinstance(body, bytes) else body.model_dump_json().encode()
    head = f"HTTP/1.1 {status} X\r\ncontent-type: {media_type}\r\ncontent-length: {len(content)}\r\n"
    return f"{head}connection: close\r\n{extra}\r\n".encode() + content


@pytest.fixture(name="http")
def http_response() -> Callable[..., bytes]:
    return http


@pytest.fixture
def make_peer() -> Iterator[Callable[..., Peer]]:
    peers: list[Peer] = []

    def make(tls: ssl.SSLContext | None = None) -> Peer:
        peer = Peer(socket.create_server(("127.0.0.1", 0)), tls)
        peers.append(peer)
        threading.Thread(target=peer.serve, daemon=True).start()
        return peer

    yield make
    for peer in peers:
        peer.stop()


@pytest.fixture
def peer(make_peer: Callable[..., Peer]) -> Peer:
    return make_peer()
