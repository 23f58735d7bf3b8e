"""Too many requests, or too slow ones, are told to come again; nothing hangs."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from server_process import ServerProcess, token_of
from sqlalchemy import text
from starlette.types import Message, Receive, Scope, Send

from keyserver.middleware.admission import Admission, Admitted
from keyserver.settings import Settings

DATABASE_KINDS = ["sqlite"]
SCOPE: Scope = {"type": "http", "path": "/v1/keys", "method": "GET", "headers": []}


def answered(application: Callable[..., Awaitable[None]], admission: Admission, requests: int = 1) -> list[int]:
    """The statuses of so many requests at the same time."""

    async def one() -> int:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        await Admitted(application, admission)({**SCOPE}, receive, send)
        starts = [message for message in sent if message["type"] == "http.response.start"]
        assert len(starts) == 1
        return int(starts[0]["status"])

    async def all_of_them() -> list[int]:
        statuses = await asyncio.gather(*(one() for _ in range(requests)))
        await asyncio.sleep(0.1)
        return statuses

    return asyncio.run(all_of_them())


async def quick(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.sleep(0.01)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def test_as_many_as_the_bound_are_served_and_the_others_told_to_come_again() -> None:
    admission = Admission(3, 10)
    assert sorted(answered(quick, admission, 5)) == [200, 200, 200, 503, 503]
    assert answered(quick, admission, 3) == [200, 200, 200]
    assert admission.running == 0


def test_a_request_that_takes_too_long_is_answered_once_and_keeps_its_place_to_its_end() -> None:
    admission, ended = Admission(1, 0.02), []

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.06)
        assert admission.running == 1
        await quick(scope, receive, send)
        ended.append(True)

    assert answered(slow, admission) == [503]
    assert ended == [True]
    assert admission.running == 0


def test_a_failure_is_passed_on_and_frees_the_place() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise TimeoutError("its own")

    admission = Admission(1, 10)
    with pytest.raises(TimeoutError, match="its own"):
        answered(broken, admission)
    assert admission.running == 0


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "server.log"


def test_a_database_that_is_locked_is_503_and_not_a_hang(world: Any, settings: Settings, log: Path) -> None:
    recipient = {"recipient": "CQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}
    with ServerProcess(settings.data, log, database_seconds="1", request_seconds="5") as server:
        headers = {"Authorization": f"Bearer {token_of(settings, 'alice')}"}
        with world.ports.database.writing() as session:
            session.execute(text("SELECT 1"))
            # A server that hangs fails this: the client gives up.
            answer = httpx.post(f"{server.url}/v1/keys", json=recipient, headers=headers, timeout=30)
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "1"
        assert httpx.post(f"{server.url}/v1/keys", json=recipient, headers=headers, timeout=30).status_code == 201


def test_a_head_that_never_ends_is_hung_up_on(settings: Settings, log: Path) -> None:
    with ServerProcess(settings.data, log, header_seconds="0.3") as server:
        for sent in (b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: "):
            with socket.create_connection(("127.0.0.1", server.port), timeout=20) as slow:
                slow.sendall(sent)
                assert slow.recv(100) == b""


def test_a_head_that_is_too_large_is_refused(settings: Settings, log: Path) -> None:
    with ServerProcess(settings.data, log) as server, socket.create_connection(("127.0.0.1", server.port), 20) as one:
        one.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Large: " + b"a" * 20_000)
        assert one.recv(100).startswith(b"HTTP/1.1 400 ")
