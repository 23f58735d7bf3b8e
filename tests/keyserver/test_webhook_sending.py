"""Sending webhooks: only to addresses that are allowed, bounded in every way, and signed as others expect."""

from __future__ import annotations

import asyncio
import base64
import datetime
import ipaddress
import ssl
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from oidc_peer import SIGNERS
from webhook_peer import WebhookPeer, running_webhook_peer

from keyserver.webhooks.addresses import check_url, may_connect, receiver_of
from keyserver.webhooks.delivery import SendFailed
from keyserver.webhooks.sending import send
from keyserver.webhooks.signing import shown_secret, signature

INSIDE = [ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("fd00:1::/64")]


@pytest.fixture
def peer() -> Iterator[WebhookPeer]:
    with running_webhook_peer() as peer:
        yield peer


def attempt(url: str, **options: Any) -> None:
    asyncio.run(send(url, {"webhook-id": "1"}, b"{}", **options))


def failure(url: str, **options: Any) -> str:
    with pytest.raises(SendFailed) as failed:
        attempt(url, **options)
    return str(failed.value)


def resolved(*addresses: str) -> Any:
    async def resolve(_host: str, _port: int) -> list[str]:
        return [*addresses]

    return resolve


def test_the_signature_is_that_of_the_conventions_reference_implementations() -> None:
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    assert shown_secret(secret) == "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    signed = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/",
        "http://10.1.0.1/",
        "ftp://example.org/",
        "https://user:word@example.org/",
        "https://example.org/#part",
        "https://exa mple.org/",
        "https://example.org\\@127.0.0.1/",
        "//example.org/",
        "https:///path",
        "https://exämple.org/",
        "https://example.org/" + "x" * 2000,
        "",
    ],
)
def test_a_webhook_has_a_plain_url_with_tls_or_on_this_machine(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        check_url(url)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.9.9.9",
        "0.0.0.0",  # noqa: S104 - that it is not reached is the test
        "10.2.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "192.0.2.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd00:2::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "::127.0.0.1",
        "::10.0.0.1",
        "::ffff:0:10.0.0.1",
        "fec0::1",
        "5f00::1",
        "2001:0:4136:e378:8000:63bf:56fe:5601",
        "nonsense",
        "",
    ],
)
def test_no_name_leads_into_private_networks_or_to_this_machine(address: str) -> None:
    assert not may_connect("hooks.example.org", address, INSIDE)
    assert "not allowed" in failure("https://hooks.example.org/", networks=INSIDE, resolve=resolved(address))


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "10.1.2.3", "fd00:1::7", "::ffff:1.1.1.1"])
def test_public_addresses_and_networks_that_the_operator_named_are_reached(address: str) -> None:
    assert may_connect("hooks.example.org", address, INSIDE)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_a_loopback_name_leads_to_this_machine_and_nowhere_else(host: str) -> None:
    assert may_connect(host, "127.0.0.1", [])
    assert may_connect(host, "::1", [])
    for address in ("1.1.1.1", "10.1.0.1", "169.254.169.254"):
        assert not may_connect(host, address, INSIDE)


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "localhost.", "0"])
def test_other_spellings_of_this_machine_are_no_loopback_names(peer: WebhookPeer, host: str) -> None:
    port = peer.url.split(":")[2].split("/")[0]
    failure(f"https://{host}:{port}/")
    assert peer.received == []


def test_one_address_that_is_not_allowed_is_enough_to_refuse() -> None:
    assert "not allowed" in failure("https://hooks.example.org/", resolve=resolved("1.1.1.1", "127.0.0.1"))
    assert "not allowed" in failure("https://hooks.example.org/", resolve=resolved())


def test_the_name_is_resolved_once_and_the_connection_goes_there(peer: WebhookPeer) -> None:
    asked: list[tuple[str, int]] = []

    async def rebinding(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    port = int(peer.url.split(":")[2].split("/")[0])
    attempt(f"http://localhost:{port}/hook?x=1", resolve=rebinding)
    assert asked == [("localhost", port)]
    (received,) = peer.received
    assert (received.path, received.headers["host"]) == ("/hook?x=1", f"localhost:{port}")


def test_the_next_address_is_tried_where_nobody_listens(peer: WebhookPeer) -> None:
    attempt(peer.url.replace("127.0.0.1", "localhost"), resolve=resolved("127.0.0.2", "127.0.0.1"))
    assert len(peer.received) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_failures_and_are_not_followed(peer: WebhookPeer, status: int) -> None:
    peer.statuses, peer.headers = [status], {"Location": "/elsewhere"}
    assert failure(peer.url) == f"the answer has status {status}"
    assert [received.path for received in peer.received] == ["/hook"]
    assert peer.arrivals.qsize() == 1


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_every_2xx_is_a_success(peer: WebhookPeer, status: int) -> None:
    peer.statuses = [status]
    attempt(peer.url)


@pytest.mark.parametrize("status", [400, 401, 404, 410, 429, 500, 503])
def test_every_other_status_is_a_failure(peer: WebhookPeer, status: int) -> None:
    peer.statuses = [status]
    assert failure(peer.url) == f"the answer has status {status}"


def test_a_receiver_that_says_nothing_is_given_up_at_the_deadline(peer: WebhookPeer) -> None:
    peer.waits = True
    assert failure(peer.url, deadline=0.2) == "no answer within 0.2 seconds"


def test_an_answer_without_end_is_not_read(peer: WebhookPeer) -> None:
    peer.statuses, peer.floods = [200], True
    attempt(peer.url)


def test_a_failure_quotes_no_part_of_the_url(peer: WebhookPeer) -> None:
    for url in (
        f"{peer.url}/secret-path",
        "http://localhost:1/secret-path",
        "https://no.such.name.invalid/secret-path",
    ):
        peer.statuses = [500]
        assert "secret" not in failure(url)


def test_a_proxy_named_in_the_environment_is_not_used(peer: WebhookPeer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    attempt(peer.url)
    assert len(peer.received) == 1


@pytest.fixture
def tls_peer(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """A TLS receiver whose certificate is for hooks.example.org, and the authority's file."""
    private = SIGNERS["ES256"].private
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hooks.example.org")])
    begin = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hooks.example.org")]), critical=False)
        .sign(private, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    key = private.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "server.pem").write_bytes(certificate.public_bytes(pem) + key)
    (tmp_path / "authority.pem").write_bytes(certificate.public_bytes(pem))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server.server_address[1], tmp_path / "authority.pem"
    server.shutdown()
    server.server_close()


def test_certificates_are_checked_for_the_name_though_the_connection_goes_to_an_address(
    tls_peer: tuple[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, authority = tls_peer
    here = {"resolve": resolved("127.0.0.1"), "networks": [ipaddress.ip_network("127.0.0.0/8")]}
    assert "ConnectError" in failure(f"https://hooks.example.org:{port}/", **here)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    attempt(f"https://hooks.example.org:{port}/", **here)
    assert "ConnectError" in failure(f"https://other.example.org:{port}/", **here)


def test_the_audit_log_is_told_the_receiver_without_its_path() -> None:
    assert receiver_of("https://hooks.example.org:8443/T0/B1/secret?key=1") == "https://hooks.example.org:8443"
