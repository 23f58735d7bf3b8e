"""So many requests at a time, each for so long: whoever comes above that is told at once to come again.

A request that takes too long is answered with 503, and what it began goes on to its end: a
thread in the middle of a transaction cannot be stopped.  It keeps its place until then, so
that there are never more at work than the bound says; whoever sent an Idempotency-Key learns
by asking again what became of it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keyserver import metrics, problems

_PROBES = frozenset({"/healthz", "/readyz"})
"""Answered also when there is no place: the probes must tell why."""


class Admission:
    """How many requests are at work in this process, and whether new ones are still taken."""

    def __init__(self, most: int, seconds: float) -> None:
        self.most = most
        self.seconds = seconds
        self.running = 0
        self.stopping = False

    def stop(self) -> None:
        """Take no new requests from now on."""
        self.stopping = True

    def refusal(self) -> str | None:
        """Why a new request is not taken now; None if it is."""
        if self.stopping:
            return "stopping"
        return "busy" if self.running >= self.most else None


class Admitted:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, admission: Admission) -> None:
        self._app = app
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See https://asgi.readthedocs.io."""
        if scope["type"] != "http" or scope["path"] in _PROBES:
            await self._app(scope, receive, send)
            return
        why = self._admission.refusal()
        if why is not None:
            metrics.count_refused(why)
            await problems.busy()(scope, receive, send)
            return
        self._admission.running += 1
        answer = _Answer(send)
        work = asyncio.ensure_future(self._app(scope, receive, answer.send))
        work.add_done_callback(self._finished)
        try:
            await asyncio.wait_for(asyncio.shield(work), self._admission.seconds)
        except TimeoutError:
            if work.done() or answer.started:
                # Its own failure, or an answer on its way: too late for another one.
                await work
                return
            answer.given_up = True
            metrics.count_refused("too_long")
            await problems.busy()(scope, receive, send)

    def _finished(self, work: asyncio.Future[None]) -> None:
        self._admission.running -= 1
        with suppress(asyncio.CancelledError):
            # Fetched, lest asyncio complain about failures that nobody waits for any more.
            work.exception()


class _Answer:
    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False
        self.given_up = False

    async def send(self, message: Message) -> None:
        if not self.given_up:
            self.started = True
            await self._send(message)
