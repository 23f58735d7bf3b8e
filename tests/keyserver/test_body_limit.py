"""The bound on request bodies, seen from below HTTP: how much is ever asked for."""

from __future__ import annotations

import anyio
from starlette.types import Message, Receive, Scope, Send

from keyserver.body_limit import BodyLimit

LIMIT = 10_000
CHUNK = 1000


def run(
    chunks: int | None, headers: list[tuple[bytes, bytes]], larger: dict[str, int] | None = None
) -> tuple[int, int | None, bytes | None]:
    """Chunks that were read, the status of the limit's own answer, and the body that the application got."""
    reads, status, got = 0, None, None

    async def receive() -> Message:
        nonlocal reads
        reads += 1
        return {"type": "http.request", "body": b"x" * CHUNK, "more_body": chunks is None or reads < chunks}

    async def send(message: Message) -> None:
        nonlocal status
        status = message.get("status", status)

    async def application(_scope: Scope, receive: Receive, _send: Send) -> None:
        nonlocal got
        message = await receive()
        assert not message["more_body"]
        got = message["body"]

    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
    anyio.run(BodyLimit(application, LIMIT, larger), scope, receive, send)
    return reads, status, got


def test_a_body_up_to_the_limit_arrives_whole() -> None:
    assert run(10, []) == (10, None, b"x" * LIMIT)


def test_an_endless_body_is_dropped_at_the_limit() -> None:
    assert run(None, []) == (11, 413, None)


def test_a_declared_length_over_the_limit_is_refused_unread() -> None:
    assert run(None, [(b"content-length", b"10001")]) == (0, 413, None)


def test_a_declared_length_that_is_a_lie_does_not_help() -> None:
    assert run(None, [(b"content-length", b"10")]) == (11, 413, None)


def test_a_path_with_a_limit_of_its_own_leaves_the_others_as_they_are() -> None:
    assert run(12, [], larger={"/": 12_000}) == (12, None, b"x" * 12_000)
    assert run(None, [], larger={"/": 12_000}) == (13, 413, None)
    assert run(None, [(b"content-length", b"12001")], larger={"/": 12_000}) == (0, 413, None)
    assert run(12, [], larger={"/batch": 12_000}) == (11, 413, None)
