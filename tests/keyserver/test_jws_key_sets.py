"""An issuer's published keys: which verify, which are left out, and which sets are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256K1, generate_private_key
from oidc_peer import SIGNERS

from faceseal.wire import decode_base64url, encode_base64url
from keyserver.tokens.jwk import KeySet, KeySetRefused, parse_key_set
from keyserver.tokens.jws import Algorithm

ALL = frozenset(Algorithm)
EDDSA, ES256, RS256 = (SIGNERS[name].jwk("one") for name in ("EdDSA", "ES256", "RS256"))
PUBLIC_K256 = generate_private_key(SECP256K1()).public_key().public_numbers()


def key_set(*keys: object, allowed: frozenset[Algorithm] = ALL) -> KeySet:
    return parse_key_set(json.dumps({"keys": keys}).encode(), allowed)


def fault(key: object, allowed: frozenset[Algorithm] = ALL) -> str:
    """Why this key is left out; another one beside it must count all the same."""
    other = SIGNERS["ES384"].jwk("other")
    found = key_set(key, other, allowed=allowed | {Algorithm.ES384})
    assert [key.kid for key in found.keys] == ["other"]
    (why,) = found.left_out
    return why.value


def without(key: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in key.items() if name not in names}


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_a_key_of_every_algorithm_is_found_by_its_kid_and_verifies_that_alone(algorithm: Algorithm) -> None:
    key = key_set(SIGNERS[algorithm].jwk("one"), SIGNERS["ES384"].jwk("two")).find("one")
    assert key is not None
    assert key.algorithm is algorithm


def test_certificates_and_unknown_members_are_ignored() -> None:
    extra = {"x5c": ["AAAA"], "x5t": "AAAA", "x5t#S256": "AAAA", "x5u": "http://attacker.example", "issuer": "x"}
    assert key_set(EDDSA | extra).keys == key_set(EDDSA).keys


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"use": "enc"}, "use"),
        ({"use": "SIG"}, "use"),
        ({"use": None}, "use"),
        ({"use": ["sig"]}, "use"),
        ({"key_ops": ["encrypt"]}, "key_ops"),
        ({"key_ops": ["sign"]}, "key_ops"),
        ({"key_ops": []}, "key_ops"),
        ({"key_ops": ["verify", "verify"]}, "key_ops"),
        ({"key_ops": "verify"}, "key_ops"),
        ({"key_ops": ["verify", 1]}, "key_ops"),
        ({"key_ops": None}, "key_ops"),
        ({"kid": ""}, "malformed"),
        ({"kid": 7}, "malformed"),
        ({"kid": None}, "malformed"),
        ({"kid": "a" * 201}, "malformed"),
        ({"alg": "EdDSA"}, "algorithm"),
        ({"alg": "RS256"}, "algorithm"),
        ({"alg": "HS256"}, "algorithm"),
        ({"alg": None}, "algorithm"),
        ({"alg": ["ES256"]}, "algorithm"),
        ({"kty": "oct", "k": "AAAA"}, "secret_published"),
        ({"kty": "oct"}, "secret_published"),
        ({"k": "AAAA"}, "secret_published"),
        ({"d": "AAAA"}, "secret_published"),
        ({"d": None}, "secret_published"),
        ({"kty": "ec"}, "unsupported"),
        ({"kty": "OKP"}, "unsupported"),
        ({"kty": None}, "unsupported"),
        ({"kty": ["EC"]}, "unsupported"),
        ({"crv": "P-521"}, "unsupported"),
        ({"crv": ["P-256"]}, "unsupported"),
        ({"crv": "P-384"}, "malformed"),
        ({"x": ""}, "malformed"),
        ({"x": None}, "malformed"),
        ({"x": ES256["x"] + "="}, "malformed"),
        ({"x": ES256["x"][:-1]}, "malformed"),
        ({"x": encode_base64url(b"\0" + decode_base64url(ES256["x"]))}, "malformed"),
        ({"x": encode_base64url(bytes(32)), "y": encode_base64url(bytes(32))}, "malformed"),
        ({"y": ES256["x"]}, "malformed"),
        ({"x": encode_base64url(b"\xff" * 32)}, "malformed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(value),
)
def test_a_key_that_must_not_verify_is_left_out_and_the_others_count(change: dict[str, Any], why: str) -> None:
    assert fault(ES256 | change) == why


@pytest.mark.parametrize("name", ["d", "p", "q", "dp", "dq", "qi", "oth"])
def test_a_key_whose_secret_was_published_never_verifies(name: str) -> None:
    assert fault(RS256 | {name: "AAAA"}) == "secret_published"


@pytest.mark.parametrize("name", ["crv", "x", "y", "kty"])
def test_a_key_with_a_part_missing_is_left_out(name: str) -> None:
    assert fault(without(ES256, name)) in ("malformed", "unsupported")


def integer(value: int) -> str:
    return encode_base64url(value.to_bytes((value.bit_length() + 7) // 8))


MODULUS = int.from_bytes(decode_base64url(RS256["n"]))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"n": integer(MODULUS >> 1 | 1)}, "weak"),
        ({"n": integer(1 << 1023 | 1)}, "weak"),
        ({"n": integer(1 << 8192 | 1)}, "malformed"),
        ({"n": integer(1 << 8191 | 1), "e": integer(3)}, "weak"),
        ({"n": integer(MODULUS - 1)}, "malformed"),
        ({"n": encode_base64url(b"\0" + MODULUS.to_bytes(256))}, "malformed"),
        ({"n": ""}, "malformed"),
        ({"n": "A" * 100_000}, "malformed"),
        ({"e": integer(1)}, "weak"),
        ({"e": integer(3)}, "weak"),
        ({"e": integer(65538)}, "malformed"),
        ({"e": integer(1 << 64 | 1)}, "weak"),
        ({"e": 65537}, "malformed"),
        ({"e": ""}, "malformed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(value),
)
def test_a_weak_or_misspelt_rsa_key_is_left_out(change: dict[str, Any], why: str) -> None:
    assert fault(RS256 | change) == why


def test_an_rsa_key_without_alg_verifies_the_one_algorithm_that_the_issuer_may_use() -> None:
    unnamed = without(RS256, "alg")
    for algorithm in (Algorithm.RS256, Algorithm.PS256):
        (key,) = key_set(unnamed, allowed=frozenset({algorithm, Algorithm.ES256})).keys
        assert key.algorithm is algorithm
    # Two to choose from would leave the choice to the token.
    assert fault(unnamed) == "algorithm"


def test_a_key_of_an_algorithm_that_the_issuer_may_not_use_is_left_out() -> None:
    assert fault(RS256, frozenset({Algorithm.PS256})) == "algorithm"
    assert fault(EDDSA, frozenset({Algorithm.ES256})) == "algorithm"


@pytest.mark.parametrize(
    "key", [None, 7, "key", [], [ES256], True], ids=["none", "number", "text", "empty", "list", "true"]
)
def test_an_entry_that_is_no_object_is_left_out(key: object) -> None:
    assert fault(key) == "malformed"


def test_a_key_on_a_curve_of_another_kind_is_left_out() -> None:
    x, y = (encode_base64url(part.to_bytes(32)) for part in (PUBLIC_K256.x, PUBLIC_K256.y))
    assert fault(ES256 | {"crv": "secp256k1", "x": x, "y": y}) == "unsupported"
    # A point of one curve is none of the other: no invalid-curve attack.
    assert fault(ES256 | {"x": x, "y": y}) == "malformed"


def test_without_a_kid_only_a_lone_key_is_found() -> None:
    assert key_set(ES256).find(None) is not None
    assert key_set(ES256, SIGNERS["ES384"].jwk("two")).find(None) is None
    assert key_set(without(ES256, "kid")).find("one") is None
    assert key_set().find(None) is None


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"keys": {}}',
        b'{"keys": null}',
        b'{"keys": [], "keys": []}',
        b'{"keys": [{"kty": "EC", "kty": "OKP"}]}',
        b'{"keys": [NaN]}',
        b'{"keys": []',
        b'\xff{"keys": []}',
        b"[" * 100_000,
        b'{"keys": []}' + b" " * (256 * 1024),
        json.dumps({"keys": [{}] * 101}).encode(),
        json.dumps({"keys": [ES256, EDDSA]}).encode(),
        json.dumps({"keys": [ES256, {"kid": "one", "kty": "unknown"}]}).encode(),
    ],
    ids=lambda document: ascii(document[:40]),
)
def test_a_set_with_two_readings_or_none_is_refused_as_a_whole(document: bytes) -> None:
    with pytest.raises(KeySetRefused):
        parse_key_set(document, ALL)
