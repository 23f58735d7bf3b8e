"""What the client makes of a server that breaks the protocol, stalls, or is not one at all."""

import logging
import re
import time
import traceback
from uuid import UUID

import pytest

from faceseal import wire
from faceseal.client import KeyServer
from faceseal.client.refusal import refusal
from faceseal.errors import (
    AccessDenied,
    KeySourceError,
    RequestNotUnderstood,
    RequestRejected,
    ServerMisbehaved,
    ServerUnavailable,
    UnknownKey,
)

TOKEN = "a-token-that-must-not-leak"
KEY = UUID("01890000-0000-7000-8000-000000000001")
OTHER = UUID("01890000-0000-7000-8000-000000000002")


def key_info(key_id=KEY, **changes):
    fields = {
        "id": key_id,
        "state": wire.KeyState.ACTIVE,
        "created_at": 1_700_000_000,
        "created_by": "anna",
        "labels": {},
        "sealed_digest": None,
    }
    return wire.KeyInfo(**(fields | changes))


@pytest.fixture
def server(peer):
    with KeyServer(peer.url, token=TOKEN, timeout=5) as opened:
        yield opened


def test_a_correct_answer_is_understood_and_carries_the_token_in_its_header_only(peer, server, http):
    peer.script = lambda _: [http(200, key_info())]
    assert server.info(KEY) == key_info()
    [request] = peer.requests
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert TOKEN not in request.path
    assert request.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n",
        b"\x00\x01\x02\x03" * 1000,
    ],
)
def test_a_peer_that_does_not_speak_http_misbehaves(peer, server, answer):
    peer.script = lambda _: [answer]
    with pytest.raises(ServerMisbehaved, match="does not speak HTTP"):
        server.revoke_key(KEY)


def test_an_answer_that_is_not_json_by_its_own_word_is_refused(peer, server, http):
    peer.script = lambda _: [http(200, key_info(), media_type="text/html")]
    with pytest.raises(ServerMisbehaved, match="did not answer with JSON"):
        server.info(KEY)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        key_info().model_dump_json().encode()[:-1] + b', "extra": 1}',
        key_info().model_dump_json().encode().replace(b'"labels"', b'"state":"active","labels"'),
        key_info().model_dump_json().encode().replace(b"1700000000", b'"1700000000"'),
        key_info().model_dump_json().encode().replace(b"1700000000", b"1e9"),
        key_info().model_dump_json().encode().replace(b"1700000000", b"NaN"),
        key_info().model_dump_json().encode().replace(b"anna", b"an\\u001b[31mna"),
    ],
)
def test_json_that_is_not_exactly_the_message_is_refused(peer, server, http, body):
    peer.script = lambda _: [http(200, body)]
    with pytest.raises(ServerMisbehaved, match=r"not strict JSON|not a KeyInfo"):
        server.info(KEY)


def test_another_success_status_than_the_protocols_is_refused(peer, server, http):
    peer.script = lambda _: [http(202, key_info())]
    with pytest.raises(ServerMisbehaved, match="HTTP 202"):
        server.info(KEY)


def test_an_answer_about_another_key_is_refused(peer, server, http):
    peer.script = lambda _: [http(200, key_info(OTHER))]
    with pytest.raises(ServerMisbehaved, match="something else"):
        server.info(KEY)


def test_a_server_that_does_not_confirm_the_photo_has_not_bound_it(peer, server, http):
    peer.script = lambda _: [http(200, key_info(sealed_digest=bytes(32)))]
    with pytest.raises(ServerMisbehaved, match="did not bind"):
        server.bind(KEY, bytes([1]) * 32)
    server.bind(KEY, bytes(32))


def test_redirects_are_not_followed(peer, server, http):
    peer.script = lambda _: [http(307, b"", extra=f"location: {peer.url}/elsewhere\r\n")]
    with pytest.raises(ServerMisbehaved, match="redirects"):
        server.info(KEY)
    assert [request.path for request in peer.requests] == [f"/v1/keys/{KEY}"]


def test_an_endless_body_is_read_only_up_to_the_limit(peer, server):
    sent = 0

    def flood(_):
        nonlocal sent
        yield b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
        while True:
            yield b"10000\r\n" + b" " * 65536 + b"\r\n"
            sent += 65536

    peer.script = flood
    with pytest.raises(ServerMisbehaved, match="too long"):
        server.info(KEY)
    # What the sockets' buffers swallow comes on top.
    assert sent < wire.MAX_RESPONSE_BYTES + (16 << 20)


def test_a_compressed_answer_is_not_unpacked(peer, server, http):
    peer.script = lambda _: [http(200, b"\x1f\x8b", extra="content-encoding: gzip\r\n")]
    with pytest.raises(ServerMisbehaved, match="compressed"):
        server.info(KEY)


def test_a_truncated_answer_is_refused(peer, server, http):
    peer.script = lambda _: [http(200, key_info())[:-5]]
    with pytest.raises(ServerMisbehaved, match="broke off"):
        server.revoke_key(KEY)


@pytest.mark.parametrize(
    "prefix", [b"", b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9999\r\n\r\n"]
)
def test_a_trickling_answer_is_cut_off_at_the_total_time_limit(peer, prefix):
    def trickle(_):
        yield prefix or b"HTTP/1.1 200 OK\r\nx-slow: "
        for _ in range(100):
            time.sleep(0.05)
            yield b" "

    peer.script = trickle
    with KeyServer(peer.url, token=TOKEN, timeout=0.4) as server:
        start = time.monotonic()
        with pytest.raises(ServerUnavailable, match=r"within 0\.4 seconds"):
            server.info(KEY)
    assert time.monotonic() - start < 2


def test_a_silent_peer_is_given_up_and_the_next_call_works(peer, http):
    peer.script = lambda _: time.sleep(3) or [b""]
    with KeyServer(peer.url, token=TOKEN, timeout=0.3) as server:
        with pytest.raises(ServerUnavailable, match=r"within 0\.3 seconds"):
            server.info(KEY)
        peer.script = lambda _: [http(200, key_info())]
        assert server.info(KEY).id == KEY


def test_nobody_listening_is_said_with_the_url(peer):
    peer.stop()
    with KeyServer(peer.url, token=TOKEN) as server, pytest.raises(ServerUnavailable, match=peer.url):
        server.list_keys()


def test_a_get_is_tried_again_twice_when_the_connection_breaks(peer, server, http):
    answers = [b"", b"", http(200, wire.KeyPage(keys=[key_info()]))]
    peer.script = lambda _: [answers[len(peer.requests) - 1]]
    assert [key.id for key in server.list_keys()] == [KEY]
    assert len(peer.requests) == 3


def test_a_get_is_not_tried_a_fourth_time(peer, server):
    with pytest.raises(KeySourceError):
        server.list_keys()
    assert len(peer.requests) == 3


def test_what_changes_something_is_sent_again_under_one_key_until_it_is_answered(peer, server, http):
    busy = http(503, b"", extra="retry-after: 0\r\n")
    running = wire.Problem(type=wire.PROBLEM_BASE + "in-progress", title="", status=409)
    answers = [b"", busy, http(409, running, "application/problem+json"), b"", http(200, key_info())]
    peer.script = lambda _: [answers[len(peer.requests) - 1]]
    assert server.revoke_key(KEY).id == KEY
    keys = {request.headers["idempotency-key"] for request in peer.requests}
    assert len(peer.requests) == 5
    assert len(keys) == 1
    assert re.fullmatch(r'"[0-9a-f-]{36}"', keys.pop())


def test_each_request_has_an_idempotency_key_of_its_own(peer, server, http):
    peer.script = lambda _: [http(200, key_info())]
    server.revoke_key(KEY)
    server.revoke_key(KEY)
    assert len({request.headers["idempotency-key"] for request in peer.requests}) == 2


def test_what_changes_something_is_not_sent_a_sixth_time(peer, server):
    with pytest.raises(KeySourceError):
        server.revoke_key(KEY)
    assert len(peer.requests) == 5


def test_a_server_that_asks_for_more_patience_than_there_is_is_not_waited_for(peer, server, http):
    peer.script = lambda _: [http(503, b"", extra="retry-after: 3600\r\n")]
    with pytest.raises(ServerUnavailable, match="try again later"):
        server.revoke_key(KEY)
    assert len(peer.requests) == 1


@pytest.mark.parametrize("status", [401, 403, 404, 409, 422, 500])
def test_a_refusal_is_not_asked_for_again(peer, server, http, status):
    peer.script = lambda _: [http(status, problem(status), media_type="application/problem+json")]
    with pytest.raises(KeySourceError):
        server.revoke_key(KEY)
    assert len(peer.requests) == 1


def problem(status, detail="why"):
    return wire.Problem(type=wire.PROBLEM_BASE + "x", title="no", status=status, detail=detail)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, AccessDenied),
        (403, AccessDenied),
        (404, UnknownKey),
        (409, RequestRejected),
        (413, RequestRejected),
        (422, RequestNotUnderstood),
        (500, ServerMisbehaved),
        (503, ServerUnavailable),
    ],
)
def test_each_refusal_becomes_its_own_error(peer, server, http, status, error):
    peer.script = lambda _: [http(status, problem(status), media_type="application/problem+json; charset=utf-8")]
    with pytest.raises(KeySourceError) as caught:
        server.info(KEY)
    assert type(caught.value) is error


def test_a_log_in_doubt_is_told_from_a_server_that_is_busy():
    document = wire.Problem(type=wire.PROBLEM_BASE + "log-in-doubt", title="t", status=503).model_dump_json().encode()
    error = refusal("https://keys.example", 503, "application/problem+json", document)
    assert isinstance(error, ServerUnavailable)
    assert "audit log is in doubt" in str(error)
    assert "audit log" not in str(refusal("https://keys.example", 503, "text/html", b"<html>"))


@pytest.mark.parametrize("status", [401, 403, 404, 409, 500])
def test_an_error_page_of_something_else_is_not_taken_for_the_key_servers_word(peer, server, http, status):
    peer.script = lambda _: [http(status, b"<html>not here</html>", media_type="text/html")]
    with pytest.raises(ServerMisbehaved, match="check the URL"):
        server.info(KEY)


def test_a_problem_document_that_contradicts_its_status_is_refused(peer, server, http):
    peer.script = lambda _: [http(404, problem(403), media_type="application/problem+json")]
    with pytest.raises(ServerMisbehaved):
        server.info(KEY)


def test_a_proxys_bad_gateway_needs_no_problem_document(peer, server, http):
    peer.script = lambda _: [http(502, b"<html>", media_type="text/html")]
    with pytest.raises(ServerUnavailable, match="try again later"):
        server.info(KEY)


def test_the_servers_own_words_are_bounded_and_printable(peer, server, http):
    detail = "\x1b]0;owned\x07\n" + "long " * 190
    peer.script = lambda _: [http(409, problem(409, detail), media_type="application/problem+json")]
    with pytest.raises(RequestRejected) as caught:
        server.info(KEY)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400
    assert "owned" in str(caught.value)


def test_the_token_shows_in_no_repr_error_or_log(peer, server, http, caplog):
    caplog.set_level(logging.DEBUG)
    peer.script = lambda _: [http(200, TOKEN.encode() + b'"')]
    with pytest.raises(ServerMisbehaved) as caught:
        server.info(KEY)
    peer.stop()
    with pytest.raises(ServerUnavailable) as unreachable:
        server.info(KEY)
    seen = [repr(server), str(server), caplog.text]
    seen += ["".join(traceback.format_exception(error.value)) for error in (caught, unreachable)]
    assert any("http" in text for text in seen)
    assert TOKEN not in "".join(seen)


def test_a_proxy_named_in_the_environment_never_sees_calls_to_this_machine(peer, http, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    peer.script = lambda _: [http(200, key_info())]
    with KeyServer(peer.url, token=TOKEN) as proxied:
        assert proxied.info(KEY).id == KEY


@pytest.mark.parametrize(
    "url",
    [
        "http://keys.example",
        "http://127.0.0.1.example",
        "ftp://localhost",
        "keys.example",
        "https://",
        "https://user:pass@keys.example",
        "https://keys.example/?tenant=1",
        "https://keys.example/#top",
        "https://[::1",
        "",
    ],
)
def test_a_url_that_is_not_plain_https_is_refused(url):
    with pytest.raises(KeySourceError, match="URL") as caught:
        KeyServer(url, token=TOKEN)
    assert "pass@" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://keys.example", "https://keys.example/base/", "http://[::1]:8", "http://127.8.9.1"]
)
def test_https_anywhere_and_http_on_this_machine_are_accepted(url):
    KeyServer(url, token=TOKEN).close()


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "ü", "x" * 10_000])
def test_a_token_that_does_not_fit_a_header_is_refused_without_being_shown(token):
    with pytest.raises(KeySourceError, match="token") as caught:
        KeyServer("https://keys.example", token=token)
    assert not token or token not in str(caught.value)


@pytest.mark.parametrize("timeout", [0, -1, 301, float("nan"), float("inf")])
def test_an_unbounded_timeout_is_refused(timeout):
    with pytest.raises(KeySourceError, match="timeout"):
        KeyServer("https://keys.example", token=TOKEN, timeout=timeout)


@pytest.mark.parametrize(
    "ask",
    [
        lambda server: server.create(labels={"bad\nname": "x"}),
        lambda server: server.bind(KEY, b"short"),
        lambda server: server.request_grant([], "purpose"),
        lambda server: server.request_grant([KEY], ""),
        lambda server: server.request_grant([KEY], "purpose", uses=0),
        lambda server: server.request_grant([KEY], "purpose", valid_for=10**9),
    ],
)
def test_what_the_protocol_does_not_allow_is_not_even_sent(peer, server, ask):
    with pytest.raises(RequestRejected, match="protocol"):
        ask(server)
    assert peer.requests == []
