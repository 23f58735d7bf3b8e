"""Running the application with uvicorn until it is told to stop."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from keyserver.errors import SetupError

_GRACE_SECONDS = 10
_BACKLOG = 128


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


def run(app: FastAPI, listening: socket.socket, ready: Callable[[], None]) -> None:
    """Serve on the socket, call `ready` once requests are taken, return after SIGTERM or SIGINT.

    Requests in progress get ten seconds to end.
    """
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    # uvicorn raises the signals again when it is done; being told to stop is no failure.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    _Announcing(config, ready).run(sockets=[listening])


class _Announcing(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()
