"""Forging DPoP proofs by their header, their key and their signature: each check by the one who would get around it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    SECP384R1,
    EllipticCurvePublicNumbers,
)
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given, settings
from hypothesis import strategies as st
from signed_proofs import (
    ALGORITHMS,
    ANY_JSON,
    CLAIMS,
    ED25519,
    GOOD,
    GOOD_P256,
    NOW,
    P256,
    URL,
    accepted,
    as_bytes,
    assembled,
    public_jwk,
    signed,
    why,
)

from faceseal.wire import decode_base64url, encode_base64url

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
P256_PRIME = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
P256_B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B


# The header.


@pytest.mark.parametrize("typ", [None, "", "jwt", "JWT", "DPOP+JWT", "application/dpop+jwt", "at+jwt", 1, ["dpop+jwt"]])
def test_any_other_type_is_refused(typ: object) -> None:
    assert why(signed(header={"typ": typ})) == "header"


@pytest.mark.parametrize(
    "alg", [None, "none", "", "HS256", "RS256", "PS256", "ES256", "ES384", "ES512", "Ed25519", "eddsa", ["EdDSA"], 1]
)
def test_any_other_algorithm_than_the_key_s_is_refused(alg: object) -> None:
    assert why(signed(header={"alg": alg})) == "header"


def test_a_proof_signed_with_the_public_key_as_a_shared_secret_is_refused() -> None:
    header = json.dumps({"typ": "dpop+jwt", "alg": "HS256", "jwk": public_jwk(ED25519)}).encode()
    secret = ED25519.public_key().public_bytes_raw()
    assert why(assembled(header, as_bytes(CLAIMS), secret, "HS256")) == "header"
    shared = json.dumps({"typ": "dpop+jwt", "alg": "HS256", "jwk": {"kty": "oct", "k": "c2VjcmV0"}}).encode()
    assert why(assembled(shared, as_bytes(CLAIMS), b"secret", "HS256")) == "key"


def test_an_unsigned_proof_is_refused() -> None:
    start = GOOD.rpartition(".")[0]
    assert why(f"{start}.") == "signature"
    header = encode_base64url(json.dumps({"typ": "dpop+jwt", "alg": "none", "jwk": public_jwk(ED25519)}).encode())
    assert why(f"{header}.{start.split('.')[1]}.") == "header"


@pytest.mark.parametrize(
    "more",
    [
        {"kid": "1"},
        {"jku": "https://attacker.example/jwks"},
        {"x5u": "https://attacker.example/cert"},
        {"x5c": ["AAAA"]},
        {"crit": ["b64"], "b64": False},
        {"b64": False},
        {"zip": "DEF"},
        {"cty": "JWT"},
        {"iat": NOW},
    ],
    ids=lambda more: "+".join(more),
)
def test_a_header_with_anything_more_is_refused(more: dict[str, Any]) -> None:
    assert why(signed(header=more)) == "header"


@pytest.mark.parametrize("header", [b"[]", b"null", b"1", b'"x"', b"{}"])
def test_a_header_that_is_none_is_refused(header: bytes) -> None:
    assert why(assembled(header, as_bytes(CLAIMS))) == "header"


# The key.


@pytest.mark.parametrize(
    "more",
    [
        {"d": encode_base64url(ED25519.private_bytes_raw())},
        {"d": ""},
        {"use": "sig"},
        {"use": "enc"},
        {"key_ops": ["verify"]},
        {"alg": "EdDSA"},
        {"kid": "1"},
        {"x5c": []},
        {"y": "AAAA"},
        {"k": "AAAA"},
        {"ext": True},
    ],
    ids=lambda more: "+".join(more),
)
def test_a_key_with_anything_but_its_public_members_is_refused(more: dict[str, Any]) -> None:
    assert why(signed(header={"jwk": {**public_jwk(ED25519), **more}})) == "key"


@pytest.mark.parametrize("name", ["kty", "crv", "x"])
def test_a_key_without_one_of_its_members_is_refused(name: str) -> None:
    assert why(signed(header={"jwk": {key: v for key, v in public_jwk(ED25519).items() if key != name}})) == "key"


X = public_jwk(ED25519)["x"]


@pytest.mark.parametrize(
    "change",
    [
        {"x": X + "="},
        {"x": X[:-1]},
        {"x": X + "AAAA"},
        {"x": ""},
        {"x": 5},
        {"x": [X]},
        {"x": "é" * 43},
        {"x": "\ud800" + X[1:]},
        {"x": encode_base64url(bytes(33))},
        {"kty": "EC"},
        {"kty": "okp"},
        {"kty": ["OKP"]},
        {"crv": "X25519"},
        {"crv": "Ed448"},
        {"crv": "P-256"},
        {"crv": None},
    ],
    ids="+".join,
)
def test_a_key_that_does_not_parse_is_refused(change: dict[str, Any]) -> None:
    assert why(signed(header={"jwk": {**public_jwk(ED25519), **change}})) == "key"


@pytest.mark.parametrize("jwk", [[], "x", 1, True, {}, [["kty", "OKP"]]])
def test_what_is_no_key_at_all_is_refused(jwk: object) -> None:
    assert why(signed(header={"jwk": jwk})) == "key"


@pytest.mark.parametrize(
    ("private", "algorithm"),
    [
        (generate_ec(SECP384R1()), "ES384"),
        (Ed448PrivateKey.generate(), "EdDSA"),
        (generate_rsa(65537, 2048), "RS256"),
        (generate_rsa(65537, 2048), "PS256"),
    ],
    ids=["P-384", "Ed448", "RS256", "PS256"],
)
def test_keys_of_other_kinds_are_refused(private: Any, algorithm: str) -> None:
    assert why(signed(private=private, algorithm=algorithm)) == "key"


def as_p256(x: int, y: int) -> dict[str, str]:
    return {"kty": "EC", "crv": "P-256", "x": encode_base64url(x.to_bytes(32)), "y": encode_base64url(y.to_bytes(32))}


def test_a_point_that_is_not_on_the_curve_is_refused() -> None:
    numbers = P256.public_key().public_numbers()
    for x, y in ((numbers.x, numbers.y ^ 1), (0, 0), (1, 1), (numbers.y, numbers.x)):
        assert why(signed(header={"jwk": as_p256(x, y), "alg": "ES256"})) == "key"


def test_a_coordinate_is_spelled_in_one_way_only() -> None:
    # 5 is the x of a point, and so would 5 + p be, in as many bytes: one key, two thumbprints.
    y = pow(5**3 - 3 * 5 + P256_B, (P256_PRIME + 1) // 4, P256_PRIME)
    EllipticCurvePublicNumbers(5, y, SECP256R1()).public_key()
    assert why(signed(header={"jwk": as_p256(5, y), "alg": "ES256"})) == "signature"
    assert why(signed(header={"jwk": as_p256(5 + P256_PRIME, y), "alg": "ES256"})) == "key"
    for x in (b"\5", b"\0" + (5).to_bytes(32), bytes(64) + b"\5", b""):
        assert why(signed(header={"jwk": {**as_p256(5, y), "x": encode_base64url(x)}, "alg": "ES256"})) == "key"


SMALL_ORDER_SIGNATURE = b"\1" + bytes(63)
SMALL_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    # The first and the third, spelled otherwise.
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]


@pytest.mark.parametrize("sign", [0, 0x80])
@pytest.mark.parametrize("encoded", SMALL_ORDER)
def test_a_key_under_which_anybody_can_sign_is_refused(encoded: str, sign: int) -> None:
    point = bytes.fromhex(encoded)
    point = point[:31] + bytes([point[31] | sign])
    # The library verifies this signature, which nobody made, for one in eight messages at least.
    forged = SMALL_ORDER_SIGNATURE
    public = Ed25519PublicKey.from_public_bytes(point)
    assert any(ALGORITHMS["EdDSA"].verify(b"%d" % number, public, forged) for number in range(200))
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": encode_base64url(point)}
    for number in range(3):
        claims = {**CLAIMS, "jti": f"0123456789abcde{number}"}
        start = signed(claims, header={"jwk": jwk}).rpartition(".")[0]
        assert why(f"{start}.{encode_base64url(forged)}") == "key"


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(st.sampled_from(["kty", "crv", "x", "y", "d"]), ANY_JSON), st.sampled_from([ED25519, P256]))
def test_keys_of_any_shape_are_refused_without_a_crash(change: dict[str, Any], private: Any) -> None:
    algorithm = "EdDSA" if private is ED25519 else "ES256"
    jwk = {**public_jwk(private), **change}
    if jwk != public_jwk(private):
        assert not accepted(signed(header={"jwk": jwk}, private=private, algorithm=algorithm))


# The signature.


def test_a_proof_by_another_key_than_the_one_it_names_is_refused() -> None:
    attacker = Ed25519PrivateKey.generate()
    assert why(signed(header={"jwk": public_jwk(ED25519)}, private=attacker)) == "signature"
    other = generate_ec(SECP256R1())
    assert why(signed(header={"jwk": public_jwk(P256)}, private=other, algorithm="ES256")) == "signature"


def test_an_elliptic_curve_signature_of_zeros_is_refused() -> None:
    # CVE-2022-21449 was this.
    start = GOOD_P256.rpartition(".")[0]
    for r, s in ((0, 0), (0, 1), (1, 0), (P256_ORDER, P256_ORDER), (1, 1), (2**256 - 1, 2**256 - 1)):
        assert why(f"{start}.{encode_base64url(r.to_bytes(32) + s.to_bytes(32))}") == "signature"


def test_an_elliptic_curve_signature_in_der_or_of_another_length_is_refused() -> None:
    start, _, signature = GOOD_P256.rpartition(".")
    raw = decode_base64url(signature)
    for wrong in (P256.sign(start.encode(), ECDSA(SHA256())), raw[:-1], raw + b"\0", b"\0" + raw, b""):
        assert why(f"{start}.{encode_base64url(wrong)}") == "signature"


def test_an_ed25519_signature_shifted_by_the_order_of_the_group_is_refused() -> None:
    start, _, signature = GOOD.rpartition(".")
    raw = decode_base64url(signature)
    order = 2**252 + 27742317777372353535851937790883648493
    shifted = raw[:32] + (int.from_bytes(raw[32:], "little") + order).to_bytes(32, "little")
    assert why(f"{start}.{encode_base64url(shifted)}") == "signature"


ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from([GOOD, GOOD_P256]),
    st.integers(0),
    st.one_of(st.sampled_from(ALPHABET + ".=+/ \n"), st.characters()),
)
def test_a_proof_with_any_character_changed_is_refused(proof: str, place: int, other: str) -> None:
    place %= len(proof)
    changed = proof[:place] + other + proof[place + 1 :]
    assert accepted(changed) == (changed == proof)


@settings(deadline=None, max_examples=200)
@given(st.sampled_from([GOOD, GOOD_P256]), st.integers(0), st.sampled_from(["", *ALPHABET[::7], ".", "=", " ", "\n"]))
def test_a_proof_with_a_character_more_or_less_is_refused(proof: str, place: int, more: str) -> None:
    place %= len(proof) + 1
    changed = proof[:place] + more + proof[place + (not more) :]
    assert accepted(changed) == (changed == proof)


def test_base64_with_spare_bits_set_is_refused() -> None:
    # A signature of 64 bytes leaves four spare bits in its last character.
    alias = ALPHABET[ALPHABET.index(GOOD[-1]) + 1]
    assert why(GOOD[:-1] + alias) == "malformed"


@pytest.mark.parametrize(
    "proof",
    [
        "",
        ".",
        "..",
        "...",
        "garbage",
        GOOD + ".",
        GOOD + "=",
        GOOD + "\n",
        " " + GOOD,
        f"{GOOD},{GOOD}",
        f"{GOOD}, {GOOD_P256}",
        GOOD.rpartition(".")[0],
        "é" + GOOD,
        "\ud800" + GOOD,
        encode_base64url(b"[" * 2000) + ".AAAA.AAAA",
        encode_base64url(b"9" * 3000) + ".AAAA.AAAA",
        encode_base64url(b"\xff") + ".AAAA.AAAA",
    ],
    ids=lambda proof: ascii(proof[:12]),
)
def test_garbage_is_refused_without_a_crash(proof: str) -> None:
    assert why(proof) == "malformed"


def test_a_proof_over_the_bound_is_refused_before_it_is_parsed() -> None:
    assert why(signed({**CLAIMS, "htu": URL + "/" + "a" * 3000})) == "malformed"


def test_a_member_that_is_named_twice_is_refused() -> None:
    header = json.dumps({"typ": "dpop+jwt", "alg": "EdDSA", "jwk": public_jwk(ED25519)})
    payload = json.dumps(CLAIMS)
    twice = [
        (header.replace('"alg":', '"alg": "none", "alg":'), payload),
        (header.replace('"crv":', '"crv": "X25519", "crv":'), payload),
        (header, payload.replace('"htm":', '"htm": "GET", "htm":')),
        (header, payload.replace('"jti":', '"jti": "fedcba9876543210", "jti":')),
    ]
    for head, body in twice:
        assert why(assembled(head.encode(), body.encode())) == "malformed"
    assert accepted(assembled(header.encode(), payload.encode()))
