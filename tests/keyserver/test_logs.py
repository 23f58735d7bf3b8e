"""The log's lines: JSON, with the request's id, and no secret whatever was raised or passed."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from secret_watch import forms, leaks

from keyserver import logs
from keyserver.logs import JsonLines
from keyserver.service import keys

DATABASE_KINDS = ["sqlite"]
KEY = bytes(range(7, 39))
TOKEN = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What the log of the whole process writes, as `serve` sets it up."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    # Not `configure`: it closes the handlers that the suite itself listens with.
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    root.addHandler(handler)
    yield stream
    root.handlers, root.level = handlers, level


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_request_leaves_one_line_with_its_id_and_no_ids_of_keys(world: Any, alice: Any, written: Any) -> None:
    key, _ = alice.create_key()
    headers = {"Authorization": f"Bearer {alice.token}", "X-Request-Id": "trace-17"}
    answer = world.client.get(f"/v1/keys/{key.id}", headers=headers)
    assert answer.headers["x-request-id"] == "trace-17"
    (line,) = [line for line in lines(written) if line.get("request_id") == "trace-17"]
    assert (line["method"], line["route"], line["status"]) == ("GET", "/v1/keys/{key_id}", 200)
    assert str(key.id) not in json.dumps(line)


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "line\tbreak", '"}', "é"])
def test_a_request_id_that_is_not_well_formed_is_replaced(world: Any, given: str) -> None:
    answer = world.client.get("/healthz", headers=[(b"X-Request-Id", given.encode())])
    assert len(answer.headers["x-request-id"]) == 32
    assert answer.headers["x-request-id"] != given


def test_two_request_ids_are_none(world: Any) -> None:
    answer = world.client.get("/healthz", headers=[("X-Request-Id", "one"), ("X-Request-Id", "two")])
    assert len(answer.headers["x-request-id"]) == 32


def test_a_bug_is_logged_without_its_text_and_answered_with_the_id(
    world: Any, written: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError(f"choked on {TOKEN}")

    monkeypatch.setattr(keys, "list_keys", broken)
    alice = world.person("alice")
    headers = {"Authorization": f"Bearer {alice.token}", "X-Request-Id": "bug-1"}
    answer = world.client.get("/v1/keys", headers=headers)
    assert (answer.status_code, answer.headers["x-request-id"]) == (500, "bug-1")
    assert any("RuntimeError" in line["message"] for line in lines(written))
    assert "choked" not in written.getvalue()


def test_an_exception_shows_types_and_places_but_no_text(written: Any) -> None:
    log = logging.getLogger("keyserver.test")
    try:
        try:
            raise KeyError(TOKEN)
        except KeyError as cause:
            raise ValueError(KEY.hex()) from cause
    except ValueError:
        log.exception("it failed")
    (line,) = lines(written)
    assert [one["type"] for one in line["exception"]] == ["ValueError", "KeyError"]
    assert all("test_logs.py:" in one["at"][0] for one in line["exception"])
    assert not leaks([written.getvalue()], [KEY, TOKEN])


def test_a_token_in_a_message_is_cut_out(written: Any) -> None:
    logging.getLogger("keyserver.test").warning("GET /x?token=%s failed", TOKEN)
    (line,) = lines(written)
    assert line["message"] == "GET /x?token=[token] failed"


def test_a_line_break_in_a_message_makes_no_second_line(written: Any) -> None:
    logging.getLogger("keyserver.test").warning('x\n{"level": "info", "message": "forged"}')
    assert len(lines(written)) == 1


def test_libraries_that_write_addresses_are_silent_in_a_server(written: Any) -> None:
    levels = {name: logging.getLogger(name).level for name in ("httpx", "httpcore")}
    logs.silence_chatter()
    try:
        logging.getLogger("httpx").info("HTTP Request: GET https://id.example/?code=secret")
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
    assert written.getvalue() == ""


@pytest.mark.parametrize("form", [*sorted(forms(KEY)), TOKEN])
def test_the_watch_over_the_suite_finds_a_secret_in_every_form(form: str) -> None:
    assert leaks([f"x={form},", "nothing"], [KEY, TOKEN, b"another secret, not there"]) == [f"x={form},"]


def test_the_watch_over_the_suite_sees_what_the_suite_makes(
    world: Any, alice: Any, bob: Any, no_secret_in_any_log: Any
) -> None:
    key, image_key = alice.create_key()
    _, token = world.grant_token(alice, bob, key.id)
    alice.release(key.id, token)
    root = (world.ports.root._key, image_key, token, alice.token)
    assert set(root) <= no_secret_in_any_log.secrets
    assert any(line.startswith("keyserver.requests") for line in no_secret_in_any_log.lines)
