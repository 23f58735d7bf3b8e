"""One time limit for a whole HTTP exchange.

httpx limits each wait for the network.  A peer that sends one byte now and then stays under
every such limit and never ends, so a timer shuts the socket down.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

_NEW_STREAM = ("connect_tcp.complete", "start_tls.complete")


class Deadline:
    """Watches the one connection of an httpx client that has `max_connections=1`.

    Pass `trace` as the request's `trace` extension.  Looking up a host name is not covered:
    the resolver has its own limits.
    """

    def __init__(self) -> None:
        self.expired = False
        self._running = False
        self._stream: Any = None
        self._lock = threading.Lock()

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Learns of the connection (httpcore's `trace` extension)."""
        if event.endswith(_NEW_STREAM):
            with self._lock:
                self._stream = info["return_value"]
                if self.expired:
                    self._shut()

    @contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """After `seconds`, the exchange inside breaks off with an httpx error and `expired` is True."""
        self.expired, self._running = False, True
        timer = threading.Timer(seconds, self._expire)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            with self._lock:
                self._running = False

    def _expire(self) -> None:
        with self._lock:
            if self._running:
                self.expired = True
                self._shut()

    def _shut(self) -> None:
        connection = self._stream.get_extra_info("socket") if self._stream is not None else None
        if isinstance(connection, socket.socket):
            with suppress(OSError):
                # Not SSLSocket.shutdown: that one takes the session away under the reader's feet.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
