"""Asks a server the same kind of question from many connections at once, and takes the time of each answer.

Requests are bytes that were made before; a connection sends its next one when it has the
answer to the last.  The client is as light as Python allows, for it shares the machine with
the servers that it measures.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Load:
    """What a number of clients saw: seconds in all, and of each answer, in order of their size."""

    clients: int
    seconds: float
    latencies: np.ndarray

    @property
    def rate(self) -> float:
        """Answers per second."""
        return len(self.latencies) / self.seconds

    def percentile(self, share: float) -> float:
        """Milliseconds within which so many of a hundred answers came."""
        return float(np.percentile(self.latencies, share) * 1000)


class _Client(asyncio.Protocol):
    """One keep-alive connection, which takes requests from `queue` until it is empty."""

    def __init__(self, queue: deque[bytes], status: bytes, latencies: list[float], finished: asyncio.Future[None]):
        self._queue, self._status, self._latencies, self._finished = queue, status, latencies, finished
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, found, body = self._answer.partition(b"\r\n\r\n")
        if not found or len(body) < _content_length(head):
            return
        self._latencies.append(time.perf_counter() - self._sent)
        if head[9:12] != self._status:
            self._fail(RuntimeError(f"answered {head[:40]!r}: {body[:200]!r}"))
            return
        self._answer = b""
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc or ConnectionError("the server closed the connection"))

    def _next(self) -> None:
        if not self._queue:
            if not self._finished.done():
                self._finished.set_result(None)
            self._transport.close()
            return
        self._sent = time.perf_counter()
        self._transport.write(self._queue.popleft())

    def _fail(self, why: Exception) -> None:
        if not self._finished.done():
            self._finished.set_exception(why)


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            return int(line[15:])
    raise RuntimeError(f"an answer without a length: {head[:200]!r}")


def ask(ports: Sequence[int], requests: Sequence[bytes], clients: int, status: int = 200) -> Load:
    """Send the requests to servers on these ports of this machine; clients are spread over them evenly.

    Raises RuntimeError if an answer's status is another, ConnectionError if a server goes away.
    """
    return asyncio.run(_ask(ports, requests, clients, str(status).encode()))


async def _ask(ports: Sequence[int], requests: Sequence[bytes], clients: int, status: bytes) -> Load:
    loop = asyncio.get_running_loop()
    queue, latencies = deque(requests), list[float]()
    finished = [loop.create_future() for _ in range(clients)]
    started = time.perf_counter()
    for number, done in enumerate(finished):
        await loop.create_connection(
            lambda done=done: _Client(queue, status, latencies, done), "127.0.0.1", ports[number % len(ports)]
        )
    await asyncio.gather(*finished)
    return Load(clients, time.perf_counter() - started, np.sort(latencies))
