"""Compact JWS: what is one, and which key it counts for.  The cases are in tests/vectors/jws.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from faceseal.wire import encode_base64url
from keyserver.tokens.jwk import KeyRefused, parse_key
from keyserver.tokens.jws import Algorithm, Jws, VerificationKey, parse_compact, verify_signature
from keyserver.tokens.refusal import TokenRefused
from keyserver.tokens.strictjson import parse_json

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "jws.json").read_text())
CASES = {case["name"]: case for case in VECTORS["cases"]}
PRIVATE = Ed25519PrivateKey.generate()
KEY = VerificationKey(None, Algorithm.EDDSA, PRIVATE.public_key())


def outcome(jwk: dict[str, Any], token: str) -> str:
    try:
        jws = parse_compact(token, 8192)
        verify_signature(jws, parse_key(jwk, frozenset(Algorithm)))
    except KeyRefused as refusal:
        return f"key: {refusal.why.value}"
    except TokenRefused as refusal:
        return refusal.why.value
    return "valid"


def why(token: str, longest: int = 8192) -> str:
    with pytest.raises(TokenRefused) as refusal:
        verify_signature(parse_compact(token, longest), KEY)
    return refusal.value.why.value


def signed(head: bytes, payload: bytes = b"{}") -> str:
    text = f"{encode_base64url(head)}.{encode_base64url(payload)}"
    return f"{text}.{encode_base64url(PRIVATE.sign(text.encode()))}"


GOOD = signed(b'{"alg":"EdDSA","typ":"at+jwt"}', b'{"sub":"alice"}')


@pytest.mark.parametrize("name", CASES)
def test_every_published_way_to_fool_a_verifier_fails_for_its_own_reason(name: str) -> None:
    case = CASES[name]
    # A symmetric key's token is refused as well, but it is the key that must not count.
    if case["result"] == "key: secret_published":
        with pytest.raises(KeyRefused):
            parse_key(case["jwk"], frozenset(Algorithm))
        return
    assert outcome(case["jwk"], case["token"]) == case["result"]


MISUSED = [name for name, case in CASES.items() if case["result"] in ("key: use", "key: key_ops")]


@pytest.mark.parametrize("name", [*MISUSED, "private members published"])
def test_what_is_refused_for_its_key_counts_with_the_same_key_described_rightly(name: str) -> None:
    case = CASES[name]
    described = {key: value for key, value in case["jwk"].items() if key not in ("use", "key_ops", "d")}
    assert outcome(described, case["token"]) == "valid"


def test_the_vectors_hold_valid_tokens_of_every_algorithm_and_every_named_case() -> None:
    valid = {parse_compact(case["token"], 8192).algorithm for case in CASES.values() if case["result"] == "valid"}
    assert valid == set(Algorithm)
    named = {number for case in CASES.values() for number in case.get("wycheproof", [])}
    assert {353, 354, 355, 356, 367, 370, *range(378, 402)} <= named


def test_what_was_parsed_is_what_was_signed() -> None:
    jws = parse_compact(GOOD, 8192)
    assert (jws.algorithm, jws.typ, jws.kid, jws.payload) == (Algorithm.EDDSA, "at+jwt", None, b'{"sub":"alice"}')
    assert jws.signing_input == GOOD.rpartition(".")[0].encode()
    verify_signature(jws, KEY)


def test_a_parsed_token_does_not_show_its_payload_or_signature() -> None:
    jws: Jws = parse_compact(GOOD, 8192)
    assert "alice" not in repr(jws)
    assert repr(jws.signature) not in repr(jws)


@pytest.mark.parametrize(
    "head",
    [
        b'{"alg":"EdDSA"}',
        b'{"typ":"at+jwt"}',
        b'["alg","typ"]',
        b'"alg typ"',
        b"null",
        b'{"alg":"eddsa","typ":"at+jwt"}',
        b'{"alg":"Ed25519","typ":"at+jwt"}',
        b'{"alg":"HS256","typ":"at+jwt"}',
        b'{"alg":null,"typ":"at+jwt"}',
        b'{"alg":{},"typ":"at+jwt"}',
        b'{"alg":"EdDSA","typ":null}',
        b'{"alg":"EdDSA","typ":["at+jwt"]}',
        b'{"alg":"EdDSA","typ":"at+jwt","kid":null}',
        b'{"alg":"EdDSA","typ":"at+jwt","kid":""}',
        b'{"alg":"EdDSA","typ":"at+jwt","kid":"a\\u0000b"}',
        b'{"alg":"EdDSA","typ":"at+jwt","kid":"\\ud800"}',
        b'{"alg":"EdDSA","typ":"at+jwt","crit":[]}',
        b'{"alg":"EdDSA","typ":"at+jwt","b64":true}',
        b'{"alg":"EdDSA","typ":"at+jwt","jku":"https://attacker.example"}',
        b'{"alg":"EdDSA","typ":"at+jwt","x5c":[]}',
        b'{"alg":"EdDSA","typ":"at+jwt","zip":"DEF"}',
        b'{"alg":"EdDSA","typ":"at+jwt","":1}',
    ],
    ids=bytes.decode,
)
def test_a_header_with_less_or_more_is_refused(head: bytes) -> None:
    assert why(signed(head)) == "header"


@pytest.mark.parametrize(
    "head",
    [
        b'{"alg":"EdDSA","alg":"EdDSA","typ":"at+jwt"}',
        b'{"alg":"none","typ":"at+jwt","alg":"EdDSA"}',
        b'{"alg":"EdDSA","typ":"at+jwt","k\\u0069d":"a","kid":"b"}',
        b'{"alg":"EdDSA","typ":"at+jwt"} ' + b"{}",
        b'\xef\xbb\xbf{"alg":"EdDSA","typ":"at+jwt"}',
        b'{"alg":"EdDSA","typ":"\xff"}',
        b'{"alg":"EdDSA","typ":NaN}',
        b"{'alg':'EdDSA'}",
        b"",
        b"[" * 3000,
        b"9" * 5000,
    ],
    ids=lambda head: ascii(head[:50]),
)
def test_a_header_with_two_readings_or_none_is_refused(head: bytes) -> None:
    assert why(signed(head)) == "malformed"


def test_the_length_is_bounded_to_the_character() -> None:
    verify_signature(parse_compact(GOOD, len(GOOD)), KEY)
    assert why(GOOD, len(GOOD) - 1) == "malformed"


@given(place=st.integers(0, len(GOOD) - 1), character=st.characters())
def test_no_token_survives_another_character_anywhere(place: int, character: str) -> None:
    altered = GOOD[:place] + character + GOOD[place + 1 :]
    if altered != GOOD:
        assert why(altered) in ("malformed", "header", "signature")


@given(st.text(max_size=300))
def test_no_text_crashes_the_parser(text: str) -> None:
    for token in (text, f"{text}.{text}.{text}", GOOD + text if text else "x"):
        assert why(token) in ("malformed", "header", "signature")


@given(st.binary(max_size=200))
def test_strict_json_reads_what_json_reads_and_refuses_what_it_refuses(data: bytes) -> None:
    try:
        expected = json.loads(data.decode())
    except (ValueError, RecursionError):
        with pytest.raises(ValueError, match=r"^not strict JSON$"):
            parse_json(data)
    else:
        # What is refused beyond that (NaN, a member named twice) this strategy does not find.
        assert parse_json(data) == expected


def test_what_strict_json_refuses_is_not_quoted() -> None:
    with pytest.raises(ValueError, match=r"^not strict JSON$") as refusal:
        parse_json(b'{"secret": "a", "secret": "b"}')
    assert refusal.value.__suppress_context__
