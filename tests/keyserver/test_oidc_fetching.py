"""Fetching an issuer's keys, from a real peer on a real socket that misbehaves in every way."""

from __future__ import annotations

import asyncio
import datetime
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from oidc_peer import SIGNERS, Answer, OidcPeer, issuer_config, running_peer

from keyserver.tokens.fetching import fetch_key_set
from keyserver.tokens.jwkscache import Fetched, FetchFailed

ONE = SIGNERS["ES256"].jwk("one")


@pytest.fixture
def peer() -> Iterator[OidcPeer]:
    with running_peer() as peer:
        peer.publish(ONE)
        peer.describe()
        yield peer


def fetch(peer: OidcPeer, deadline: float = 5.0, **source: str) -> Fetched:
    return asyncio.run(fetch_key_set(issuer_config(peer.url, **source), deadline))


def failure(peer: OidcPeer, deadline: float = 5.0, **source: str) -> str:
    with pytest.raises(FetchFailed) as failed:
        fetch(peer, deadline, **source)
    return str(failed.value)


@pytest.fixture
def tls_port(tmp_path: Path) -> Iterator[int]:
    """A TLS server on loopback whose certificate is signed by itself."""
    private = SIGNERS["ES256"].private
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    begin = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + datetime.timedelta(days=2))
        .sign(private, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    key = private.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "server.pem").write_bytes(certificate.public_bytes(pem) + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            try:
                connection, _ = listening.accept()
                context.wrap_socket(connection, server_side=True).close()
            except OSError:
                return

        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]


def test_keys_are_fetched_from_their_address_or_through_the_issuers_description(peer: OidcPeer) -> None:
    assert [key.kid for key in fetch(peer).keys.keys] == ["one"]
    assert fetch(peer, discovery="openid").keys == fetch(peer).keys
    peer.describe(path="/.well-known/oauth-authorization-server")
    assert fetch(peer, discovery="oauth").keys == fetch(peer).keys


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ({}, None),
        ({"Cache_Control": "public, max-age=600, must-revalidate"}, 600),
        ({"Cache_Control": "MAX-AGE=7"}, 7),
        ({"Cache_Control": 'max-age="7"'}, 7),
        ({"Cache_Control": "max-age=600, no-cache"}, 0),
        ({"Cache_Control": "No-Store"}, 0),
        ({"Cache_Control": "s-maxage=600"}, None),
        ({"Cache_Control": "max-age=-1"}, None),
        ({"Cache_Control": "max-age=99999999999999999999"}, None),
        ({"Cache_Control": "max-age=١"}, None),
    ],
    ids=str,
)
def test_what_the_issuer_says_about_caching_is_read(
    peer: OidcPeer, header: dict[str, str], expected: int | None
) -> None:
    peer.publish(ONE, **{name: value.encode().decode("latin-1") for name, value in header.items()})
    assert fetch(peer).max_age == expected


JSON = {"Content-Type": "application/json"}
SET = json.dumps({"keys": [ONE]}).encode()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(SET, 404), "status 404"),
        (Answer(SET, 500), "status 500"),
        (Answer(SET, 204), "status 204"),
        (Answer(SET, 206), "status 206"),
        (Answer(SET, 302, {**JSON, "Location": "/elsewhere"}), "status 302"),
        (Answer(SET, 307, {**JSON, "Location": "/elsewhere"}), "status 307"),
        (Answer(SET, headers={"Content-Type": "text/html"}), "content type"),
        (Answer(SET, headers={"Content-Type": "application/jsonp"}), "content type"),
        (Answer(SET, headers={}), "content type"),
        (Answer(SET, headers={**JSON, "Content-Encoding": "gzip"}), "compressed"),
        (Answer(SET + b" " * (256 * 1024)), "longer than"),
        (Answer(b"<html>"), "not strict JSON"),
        (Answer(b"{}"), "not an object"),
        (Answer(json.dumps({"keys": [ONE, ONE]}).encode()), "one kid"),
        (Answer(SET, headers={**JSON, "Content-Length": "9999"}), "RemoteProtocolError"),
        (Answer(b"\x00\x01garbage\r\n\r\n", raw=True), "RemoteProtocolError"),
        (Answer(b"", raw=True), "RemoteProtocolError"),
        (Answer(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 300_000, raw=True), "RemoteProtocolError"),
        (Answer(b"SSH-2.0-OpenSSH\r\n", raw=True), "RemoteProtocolError"),
    ],
    ids=lambda value: ascii(value)[:60],
)
def test_an_answer_that_is_not_exactly_what_the_protocol_says_is_a_failure(
    peer: OidcPeer, answer: Answer, words: str
) -> None:
    peer.publish(ONE, path="/elsewhere")
    peer.answers["/jwks"] = answer
    assert words in failure(peer)
    assert "/elsewhere" not in peer.asked


def test_jwk_set_json_is_a_content_type_for_keys_but_not_for_descriptions(peer: OidcPeer) -> None:
    for path in ("/jwks", "/.well-known/openid-configuration"):
        peer.answers[path].headers = {"Content-Type": "application/jwk-set+json; charset=utf-8"}
    assert fetch(peer).keys.keys
    assert "content type" in failure(peer, discovery="openid")


@pytest.mark.parametrize(
    "answer",
    [Answer(SET, waits=True), Answer(SET, drips=True), Answer(SET, raw=True, drips=True)],
    ids=["waits", "drips its body", "drips its headers"],
)
def test_an_issuer_that_is_slow_or_drips_is_given_up_at_the_deadline(peer: OidcPeer, answer: Answer) -> None:
    peer.answers["/jwks"] = answer
    assert "no answer within 0.15 seconds" in failure(peer, deadline=0.15)


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": "https://attacker.example"},
        {"issuer": "URL/"},
        {"issuer": "URL "},
        {"issuer": ["URL"]},
        {"issuer": None},
    ],
    ids=str,
)
def test_a_description_of_another_issuer_does_not_count(peer: OidcPeer, change: dict[str, object]) -> None:
    issuer = change["issuer"]
    named = issuer.replace("URL", peer.url) if isinstance(issuer, str) else issuer
    document = {"issuer": named, "jwks_uri": f"{peer.url}/jwks"}
    peer.answers["/.well-known/openid-configuration"] = Answer(json.dumps(document).encode())
    assert "another issuer" in failure(peer, discovery="openid")
    assert "/jwks" not in peer.asked


@pytest.mark.parametrize(
    "url",
    [None, 7, "", "http://169.254.169.254/", "file:///etc/passwd", "https://a@b/", "/jwks", ["https://a/"]],
    ids=str,
)
def test_a_description_that_points_elsewhere_than_https_is_a_failure(peer: OidcPeer, url: object) -> None:
    peer.describe(jwks_uri=url)
    assert "no usable jwks_uri" in failure(peer, discovery="openid")


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"issuer": "a", "issuer": "b"}', b"null"])
def test_a_description_that_is_no_object_is_a_failure(peer: OidcPeer, body: bytes) -> None:
    peer.answers["/.well-known/openid-configuration"] = Answer(body)
    assert "metadata document" in failure(peer, discovery="openid")


def test_a_proxy_named_in_the_environment_does_not_see_this_machines_own_ports(
    peer: OidcPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert fetch(peer).keys.keys


def test_a_certificate_that_nobody_vouches_for_is_a_failure(tls_port: int) -> None:
    config = issuer_config(f"https://127.0.0.1:{tls_port}")
    with pytest.raises(FetchFailed, match="ConnectError"):
        asyncio.run(fetch_key_set(config))
