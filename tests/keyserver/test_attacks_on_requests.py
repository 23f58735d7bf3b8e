"""Requests that two readers could read differently, byte by byte to a real server, and strange bodies and names."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from server_process import ServerProcess, token_of

from faceseal.wire import PROBLEM_BASE
from keyserver import installation
from keyserver.settings import Settings

DATABASE_KINDS = ["sqlite"]
"""Nothing here depends on the database."""
ANY_BASE64 = "CQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
HIDDEN = "GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
"""What somebody else's request would be, if the server took a body for one."""


@pytest.mark.parametrize(
    "body",
    [
        f'{{"recipient": "{ANY_BASE64}", "recipient": "{ANY_BASE64}"}}',
        f'{{"recipient": "{ANY_BASE64}", "labels": {{"a": "1", "a": "2"}}}}',
        f'{{"recipient": "{ANY_BASE64}", "labels": {{"a": "1", "\\u0061": "2"}}}}',
        '{"recipient": NaN}',
        f'\ufeff{{"recipient": "{ANY_BASE64}"}}',
    ],
)
def test_a_body_with_two_readings_is_refused(world: Any, alice: Any, body: str) -> None:
    headers = {**alice.headers(None), "Content-Type": "application/json"}
    answer = world.client.post("/v1/keys", content=body.encode(), headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (422, PROBLEM_BASE + "invalid")
    assert ANY_BASE64 not in answer.text


def test_a_body_of_another_kind_is_not_read_as_json(world: Any, alice: Any) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        headers = {**alice.headers(None), "Content-Type": kind}
        body = json.dumps({"recipient": ANY_BASE64}).encode()
        assert world.client.post("/v1/keys", content=body, headers=headers).status_code == 422


def test_people_whose_names_only_look_alike_are_different_people(world: Any) -> None:
    # Composed and decomposed, Latin and Cyrillic, upper and lower case, with and without a dot.
    names = ["josé", "jose\u0301", "j\u043esé", "JOSÉ", "josé."]
    people = [world.person(name) for name in names]
    key, _ = people[0].create_key()
    grant_id = people[0].request_grant(key.id)["id"]
    for person in people[1:]:
        assert person.post(f"/v1/grants/{uuid4()}/approve").status_code == 404
        requester = world.person(person.caller().subject, "grants:request keys:release", key=people[0].key)
        assert requester.get(f"/v1/grants/{grant_id}").status_code == 404
    assert people[0].post(f"/v1/grants/{grant_id}/approve").status_code == 403
    assert people[1].post(f"/v1/grants/{grant_id}/approve").json()["decided_by"] == names[1]


@pytest.mark.parametrize("name", ["a\nb", "a\rb", "a\x00b", "a\x1b[31mb", "a\u2028b", "a\u202eb", "\ud800", ""])
def test_nobody_is_called_what_would_break_a_line_of_the_log(world: Any, name: str) -> None:
    with pytest.raises(ValueError, match="sub"):
        world.person(name)


def test_a_path_with_a_slash_too_many_leads_nowhere(world: Any) -> None:
    for path in ("/v1/keys/", "/v1/grants/", "//v1/keys", "/v1//keys", "/v1/keys/../grants/"):
        answer = world.client.post(path, headers={"Host": "evil.example"}, follow_redirects=False)
        assert answer.status_code == 404
        assert "location" not in answer.headers


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str]]:
    """Port and access token of a server in a process of its own."""
    folder: Path = tmp_path_factory.mktemp("raw")
    settings = Settings(data=folder / "data")
    installation.initialise(settings, "default", 1).database.close()
    with ServerProcess(settings.data, folder / "log") as process:
        yield process.port, token_of(settings, "alice")


def answers(port: int, request: str) -> list[int]:
    """The statuses of all answers to what is sent over one connection, until the server closes it."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(request.encode("latin-1"))
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    return [int(status) for status in re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", received)]


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("Content-Length: 4\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0", "0\r\n\r\n"),
        ("Transfer-Encoding: xchunked", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked, identity", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "0\r\n\r\n"),
        ("Content-Length: 0\r\nContent-Length: 44", ""),
        ("Content-Length: 0x0", ""),
        ("Content-Length: +0", ""),
        ("Content-Length : 0", ""),
        ("Content_Length: 0\r\nContent-Length: -1", ""),
    ],
)
def test_no_second_request_is_smuggled_behind_a_body_whose_length_is_ambiguous(
    server: tuple[int, str], head: str, body: str
) -> None:
    port, token = server
    request = f"POST /v1/keys HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n{head}\r\n\r\n{body}"
    assert answers(port, request + HIDDEN) == [400]


def test_a_coded_body_of_a_version_that_has_no_codings_hides_nothing(server: tuple[int, str]) -> None:
    port, token = server
    head = f"Host: h\r\nAuthorization: Bearer {token}\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked"
    assert answers(port, f"POST /v1/keys HTTP/1.0\r\n{head}\r\n\r\n0\r\n\r\n{HIDDEN}") == [400]


def test_two_requests_that_are_clearly_two_are_answered(server: tuple[int, str]) -> None:
    port, token = server
    request = f"POST /v1/keys HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\nContent-Length: 2\r\n\r\n{{}}"
    assert answers(port, request + HIDDEN) == [422, 200]


@pytest.mark.parametrize("lines", ["Host: a\r\nHost: b", "X: 1", "Host: h\r\nX: a\x00b", "Host: h\r\n: x"])
def test_a_head_that_names_no_host_or_two_or_cannot_be_is_refused(server: tuple[int, str], lines: str) -> None:
    port, token = server
    asked = f"GET /v1/keys HTTP/1.1\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n{lines}\r\n\r\n"
    assert answers(port, asked) == [400]
