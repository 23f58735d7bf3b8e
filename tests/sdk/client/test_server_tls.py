"""The client over TLS: whom it trusts, and that time limits hold inside an encrypted connection."""

import datetime
import ipaddress
import ssl
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from faceseal import wire
from faceseal.client import KeyServer
from faceseal.errors import ServerUnavailable


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for localhost, in one file with its key."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    today = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(private, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    encoded = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(encoded + signed.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def tls_peer(make_peer, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return make_peer(context)


def test_a_certificate_that_nobody_vouches_for_is_refused(tls_peer):
    with (
        KeyServer(tls_peer.url, token="t", timeout=5) as server,
        pytest.raises(ServerUnavailable, match="check its certificate"),
    ):
        server.list_keys()
    assert tls_peer.requests == []


def test_an_authority_of_ones_own_can_be_named(tls_peer, certificate, http, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    tls_peer.script = lambda _: [http(200, wire.KeyPage(keys=[]))]
    with KeyServer(tls_peer.url, token="t", timeout=5) as server:
        assert list(server.list_keys()) == []


def test_a_trickling_answer_is_cut_off_inside_tls_too(tls_peer, certificate, monkeypatch):
    def trickle(_):
        for _ in range(100):
            time.sleep(0.05)
            yield b"H"

    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    tls_peer.script = trickle
    start = time.monotonic()
    with (
        KeyServer(tls_peer.url, token="t", timeout=0.5) as server,
        pytest.raises(ServerUnavailable, match=r"within 0\.5 seconds"),
    ):
        server.list_keys()
    assert time.monotonic() - start < 2
