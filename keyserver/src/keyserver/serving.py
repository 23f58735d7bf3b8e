"""Running the application with uvicorn until it is told to stop.

SIGTERM or SIGINT: no connection is accepted any more, a request on an open one is answered
with 503, requests in progress get their time to end, and `run` returns.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from keyserver.errors import SetupError
from keyserver.settings import Settings

_BACKLOG = 128


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How much a connection may send before a request is complete, and how long it all may take (bytes, seconds)."""

    header_bytes: int = 16 * 1024
    header_seconds: float = 10.0
    shutdown_seconds: int = 10
    trusted_proxies: str = ""
    """Whose X-Forwarded-For and X-Forwarded-Proto count."""

    @classmethod
    def of(cls, settings: Settings) -> Patience:
        """As the operator has set it."""
        return cls(
            header_bytes=settings.max_header_bytes,
            header_seconds=settings.header_seconds,
            shutdown_seconds=settings.shutdown_seconds,
            trusted_proxies=settings.trusted_proxies,
        )


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.  Raises SetupError."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as cause:
        raise SetupError(f"cannot listen on {host} port {port}: {cause}") from None
    # Connections inherit it.  Without, an answer's second packet waits 40 ms for the client to acknowledge the first.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def run(
    app: FastAPI,
    listening: socket.socket,
    ready: Callable[[], None],
    patience: Patience | None = None,
    stopping: Callable[[], None] = lambda: None,
) -> None:
    """Serve on the socket, call `ready` once requests are taken, return after SIGTERM or SIGINT.

    `stopping` is called when the signal comes, before anything else.
    """
    patience = patience or Patience()
    config = uvicorn.Config(
        app,
        http=_impatient(patience.header_seconds),
        ws="none",
        # The process's logging is as it is; see `keyserver.logs`.
        log_config=None,
        access_log=False,
        proxy_headers=bool(patience.trusted_proxies),
        forwarded_allow_ips=patience.trusted_proxies or None,
        server_header=False,
        lifespan="off",
        h11_max_incomplete_event_size=patience.header_bytes,
        timeout_graceful_shutdown=patience.shutdown_seconds,
    )
    # uvicorn raises the signals again when it is done; being told to stop is no failure.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    _Announcing(config, ready, stopping).run(sockets=[listening])


class _Announcing(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None], stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready
        self._stopping = stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._stopping()
        super().handle_exit(sig, frame)


def _impatient(seconds: float) -> type[asyncio.Protocol]:
    """uvicorn's HTTP/1.1, but a connection whose request's head is not there after `seconds` is closed.

    uvicorn closes idle connections, and the application bounds the body; between the two, a
    head that comes byte by byte would hold a connection for ever.
    """

    class Impatient(H11Protocol):
        _waiting: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._unwatch()
            super().connection_lost(exc)

        def _watch(self) -> None:
            if self.cycle is not None and not self.cycle.response_complete:
                self._unwatch()
            elif self._waiting is None:
                self._waiting = self.loop.call_later(seconds, self._give_up)

        def _unwatch(self) -> None:
            if self._waiting is not None:
                self._waiting.cancel()
                self._waiting = None

        def _give_up(self) -> None:
            self._waiting = None
            if (self.cycle is None or self.cycle.response_complete) and not self.transport.is_closing():
                self.transport.close()

    return Impatient
