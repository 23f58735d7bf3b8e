"""A load balancer for TCP: each connection goes to the next of several ports of this machine that takes it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType


class Balancer:
    """Listens on `port` as long as the block lasts; a client that comes again finds whichever replica is there."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = list(ports)
        self._next = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self.connections = 0
        self.cut = 0
        """Connections that a replica ended while a client waited for its answer."""

    def __enter__(self) -> Balancer:
        self._thread.start()
        assert self._ready.wait(20)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(20)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = int(server.sockets[0].getsockname()[1])
        self._ready.set()
        await self._over.wait()
        server.close()

    async def _connected(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        self.connections += 1
        for _ in self._ports:
            self._next = (self._next + 1) % len(self._ports)
            with suppress(OSError):
                replica, request = await asyncio.open_connection("127.0.0.1", self._ports[self._next])
                break
        else:
            answer.transport.abort()
            return
        waiting = asyncio.Event()
        asked = asyncio.ensure_future(_passed_on(client, request, waiting.set))
        answered = asyncio.ensure_future(_passed_on(replica, answer, waiting.clear))
        await asyncio.wait({asked, answered}, return_when=asyncio.FIRST_COMPLETED)
        self.cut += answered.done() and waiting.is_set()
        for end in (asked, answered):
            end.cancel()
        request.transport.abort()
        answer.close()


async def _passed_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter, seen: object) -> None:
    assert callable(seen)
    with suppress(OSError):
        while data := await source.read(1 << 16):
            seen()
            sink.write(data)
            await sink.drain()
