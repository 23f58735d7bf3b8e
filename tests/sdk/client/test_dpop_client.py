"""The client's key and its DPoP proofs, read by another implementation."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from faceseal.client.dpop import DpopKey
from faceseal.errors import ClientKeyError, ServerMisbehaved
from faceseal.wire import decode_base64url, encode_base64url

NOW = 1_800_000_000
URL = "https://keys.example/v1/keys/7/release"
TOKEN = "an access token"
SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
"""RFC 8032, section 7.1, test 1, and RFC 8037, appendix A.1."""


def read(proof: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, once PyJWT has verified the signature with the key in the header."""
    header = jwt.get_unverified_header(proof)
    assert header["alg"] == "EdDSA"
    return header, jwt.decode(proof, jwt.PyJWK(header["jwk"]), ["EdDSA"], options={"verify_iat": False})


def test_a_proof_names_its_request_its_token_and_its_time() -> None:
    key = DpopKey.generate()
    header, claims = read(key.proof("POST", URL, TOKEN, NOW, "a nonce!".replace(" ", "-")))
    assert header["typ"] == "dpop+jwt"
    assert header.keys() == {"typ", "alg", "jwk"}
    assert header["jwk"].keys() == {"kty", "crv", "x"}
    assert (claims["htm"], claims["htu"], claims["iat"]) == ("POST", URL, NOW)
    assert decode_base64url(claims["ath"]) == hashlib.sha256(TOKEN.encode()).digest()
    assert claims["nonce"] == "a-nonce!"


def test_a_proof_without_a_nonce_does_not_mention_one() -> None:
    _, claims = read(DpopKey.generate().proof("POST", URL, TOKEN, NOW))
    assert claims.keys() == {"jti", "htm", "htu", "iat", "ath"}


def test_no_two_proofs_have_the_same_number() -> None:
    key = DpopKey.generate()
    numbers = [read(key.proof("POST", URL, TOKEN, NOW))[1]["jti"] for _ in range(50)]
    assert len(set(numbers)) == 50
    # At least 96 random bits (RFC 9449, section 4.2).
    assert all(len(decode_base64url(number)) >= 12 for number in numbers)


def test_the_token_itself_is_not_in_the_proof() -> None:
    proof = DpopKey.generate().proof("POST", URL, TOKEN, NOW)
    assert all(TOKEN.encode() not in decode_base64url(part) for part in proof.split("."))


def test_query_and_fragment_stay_out_of_the_proof() -> None:
    for url in (URL + "?album=summer", URL + "#top", URL + "?a#b?c", URL + "#a?b"):
        assert read(DpopKey.generate().proof("GET", url, TOKEN, NOW))[1]["htu"] == URL


@pytest.mark.parametrize(
    "url",
    ["", "/v1/keys", "ftp://keys.example/", "file:///etc/passwd", "https://", "https://user:password@keys.example/"],
)
def test_there_is_no_proof_for_what_is_no_url_of_a_key_server(url: str) -> None:
    with pytest.raises(ValueError, match="DPoP") as refusal:
        DpopKey.generate().proof("GET", url, TOKEN, NOW)
    assert "password" not in str(refusal.value)


@pytest.mark.parametrize("nonce", ["", "with space", 'with"quote', "with\\backslash", "line\nbreak", "é", "n" * 129])
def test_what_a_hostile_server_sends_as_a_nonce_is_not_signed(nonce: str) -> None:
    with pytest.raises(ServerMisbehaved):
        DpopKey.generate().proof("GET", URL, TOKEN, NOW, nonce)


def test_the_thumbprint_is_that_of_the_rfc() -> None:
    key = DpopKey(Ed25519PrivateKey.from_private_bytes(SEED))
    vectors = json.loads((Path(__file__).parents[2] / "vectors" / "rfc9449.json").read_text())
    example = next(each for each in vectors["thumbprints"] if each["jwk"]["kty"] == "OKP")
    assert key.thumbprint == example["thumbprint"]
    header, _ = read(key.proof("GET", URL, TOKEN, NOW))
    assert header["jwk"] == example["jwk"]


def test_the_same_request_number_and_time_give_the_same_proof() -> None:
    key = DpopKey(Ed25519PrivateKey.from_private_bytes(SEED))
    proofs = {key._proof("POST", URL, TOKEN, NOW, None, "0123456789abcdef") for _ in range(3)}
    assert len(proofs) == 1


# The file.


def pem(private: Any, *, passphrase: bytes | None = None, style: PrivateFormat = PrivateFormat.PKCS8) -> bytes:
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    data: bytes = private.private_bytes(Encoding.PEM, style, encryption)
    return data


def written(path: Path, data: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path


def test_a_saved_key_is_the_same_when_it_is_loaded(tmp_path: Path) -> None:
    key = DpopKey.generate()
    key.save(tmp_path / "client.pem")
    assert DpopKey.load(str(tmp_path / "client.pem")).thumbprint == key.thumbprint
    assert [each.name for each in tmp_path.iterdir()] == ["client.pem"]


def test_a_saved_key_is_a_pkcs8_file_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "client.pem"
    # Whatever the umask, and never wider in between.
    program = (
        "import os, sys; os.umask(0); from faceseal.client.dpop import DpopKey; DpopKey.generate().save(sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=True)
    assert path.stat().st_mode & 0o777 == 0o600
    assert isinstance(load_pem_private_key(path.read_bytes(), None), Ed25519PrivateKey)
    assert path.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----")


@pytest.mark.parametrize("there", ["another key", "link to nowhere", "folder"])
def test_saving_never_replaces_what_is_there(tmp_path: Path, there: str) -> None:
    path = tmp_path / "client.pem"
    if there == "another key":
        DpopKey.generate().save(path)
    elif there == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "elsewhere")
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(ClientKeyError, match="there already"):
        DpopKey.generate().save(path)
    assert (path.read_bytes() if path.is_file() else None) == before
    assert [each.name for each in tmp_path.iterdir()] == ["client.pem"]


def test_a_key_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ClientKeyError, match="cannot write"):
        DpopKey.generate().save(tmp_path / "no folder" / "client.pem")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ClientKeyError, match="No space left"):
        DpopKey.generate().save(tmp_path / "client.pem")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o602, 0o610, 0o601, 0o666, 0o777])
def test_a_file_that_is_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path / "client.pem", pem(Ed25519PrivateKey.generate()), mode)
    with pytest.raises(ClientKeyError, match="chmod 600"):
        DpopKey.load(path)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_file_for_its_owner_alone_is_read(tmp_path: Path, mode: int) -> None:
    DpopKey.load(written(tmp_path / "client.pem", pem(Ed25519PrivateKey.generate()), mode))


KEY = Ed25519PrivateKey.from_private_bytes(SEED)
WHOLE = pem(KEY)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"garbage",
        SEED,
        WHOLE[:60],
        WHOLE.replace(b"PRIVATE KEY", b"PUBLIC KEY"),
        pem(KEY, passphrase=b"secret"),
        pem(generate_private_key(SECP256R1())),
        pem(generate_private_key(SECP256R1()), style=PrivateFormat.TraditionalOpenSSL),
        WHOLE.replace(b"M", b"N", 1),
        WHOLE + b" " * 5000,
    ],
    ids=["empty", "garbage", "raw", "cut", "relabelled", "encrypted", "P-256", "P-256 old", "damaged", "too long"],
)
def test_a_file_without_such_a_key_is_refused_and_not_quoted(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ClientKeyError) as refusal:
        DpopKey.load(written(tmp_path / "client.pem", data))
    message = str(refusal.value)
    assert "client.pem" in message
    assert not any(line in message for line in data.decode("latin-1").splitlines() if len(line.strip()) > 3)


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("nothing", "pipe", "."):
        with pytest.raises(ClientKeyError):
            DpopKey.load(tmp_path / name)


def test_the_key_does_not_show() -> None:
    key = DpopKey(KEY)
    assert repr(key) == str(key) == f"DpopKey(thumbprint='{key.thumbprint}')"
    shown = f"{key!r} {key} {vars(key)}"
    assert SEED.hex() not in shown
    assert encode_base64url(SEED) not in shown
    assert repr(SEED) not in shown
    with pytest.raises(TypeError):
        pickle.dumps(key)
