"""DPoP proofs (RFC 9449): what counts, and claims that do not fit the request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from signed_proofs import (
    ANY_JSON,
    CLAIMS,
    ED25519,
    GOOD,
    GOOD_P256,
    NONCES,
    NOW,
    P256,
    TOKEN,
    URL,
    accepted,
    public_jwk,
    signed,
    why,
)

from faceseal.client.dpop import DpopKey
from keyserver.errors import Unauthenticated
from keyserver.tokens.dpop import ProofRefusal, ProofRefused, verify_proof
from keyserver.tokens.nonces import Nonces
from keyserver.tokens.thumbprint import thumbprint

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "rfc9449.json").read_text())


@pytest.mark.parametrize(("proof", "private"), [(GOOD, ED25519), (GOOD_P256, P256)], ids=["EdDSA", "ES256"])
def test_a_proof_that_this_file_signs_counts_so_that_the_forgeries_fail_for_their_own_reason(
    proof: str, private: Any
) -> None:
    verified = verify_proof(proof, "POST", URL, TOKEN, NOW, NONCES)
    assert (verified.jti, verified.iat) == ("0123456789abcdef", NOW)
    assert verified.jkt == thumbprint(public_jwk(private))


@pytest.mark.parametrize("example", VECTORS["proofs"], ids=lambda example: example["source"])
def test_the_examples_of_the_rfc_count_at_their_own_time(example: dict[str, Any]) -> None:
    request = [example[name] for name in ("proof", "method", "url", "access_token", "iat")]
    verified = verify_proof(*request, None)
    assert verified.jkt == VECTORS["thumbprints"][0]["thumbprint"]
    assert (verified.jti, verified.iat) == (example["jti"], example["iat"])
    # And at no other.
    assert why(example["proof"], method=example["method"], url=example["url"], nonces=None) == "too_old"


def test_the_proofs_of_our_own_client_count() -> None:
    key = DpopKey.generate()
    proof = key.proof("POST", URL + "?page=2", TOKEN, NOW, NONCES.fresh_nonce(NOW))
    assert verify_proof(proof, "POST", URL, TOKEN, NOW, NONCES).jkt == key.thumbprint


@pytest.mark.parametrize("example", VECTORS["thumbprints"], ids=lambda example: example["source"])
def test_thumbprints_are_those_of_the_rfcs(example: dict[str, Any]) -> None:
    assert thumbprint(example["jwk"]) == example["thumbprint"]


@pytest.mark.parametrize(
    "jwk", [{}, {"kty": "oct", "k": "AAAA"}, {"kty": "EC", "crv": "P-256", "x": "AAAA"}, {"kty": ["EC"]}, {"x": "AAAA"}]
)
def test_what_is_no_public_key_has_no_thumbprint(jwk: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not a public JWK"):
        thumbprint(jwk)


# The claims.


@pytest.mark.parametrize("name", ["jti", "htm", "htu", "iat"])
def test_every_claim_is_required(name: str) -> None:
    assert why(signed({key: value for key, value in CLAIMS.items() if key != name})) == "claims"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"jti": "a" * 15}, "claims"),
        ({"jti": "a" * 129}, "claims"),
        ({"jti": "a" * 16 + "\n"}, "claims"),
        ({"jti": "a b c d e f g h i j"}, "claims"),
        ({"jti": "é" * 16}, "claims"),
        ({"jti": "\ud800" * 16}, "claims"),
        ({"jti": 1234567890123456}, "claims"),
        ({"htm": "GET"}, "method"),
        ({"htm": "post"}, "method"),
        ({"htm": "POST "}, "method"),
        ({"htm": ""}, "method"),
        ({"htm": "P" * 33}, "claims"),
        ({"htm": ["POST"]}, "claims"),
        ({"htu": URL + "x"}, "url"),
        ({"htu": ""}, "url"),
        ({"htu": "/v1/keys/7/release"}, "url"),
        ({"htu": [URL]}, "claims"),
        ({"htu": URL + "?" + "q" * 2048}, "claims"),
        ({"iat": NOW + 0.0}, "claims"),
        ({"iat": str(NOW)}, "claims"),
        ({"iat": True}, "claims"),
        ({"iat": -1}, "claims"),
        ({"iat": 1e400}, "malformed"),
        ({"iat": float("nan")}, "malformed"),
        ({"iat": 10**30}, "claims"),
        ({"ath": ""}, "claims"),
        ({"ath": CLAIMS["ath"] + "="}, "claims"),
        ({"ath": 7}, "claims"),
        ({"nonce": "n" * 129}, "claims"),
        ({"nonce": 7}, "claims"),
        ({"exp": NOW + 60}, "claims"),
        ({"aud": URL}, "claims"),
    ],
    ids=ascii,
)
def test_a_claim_that_does_not_fit_is_refused(change: dict[str, object], reason: str) -> None:
    assert why(signed({**CLAIMS, **change})) == reason


@pytest.mark.parametrize("payload", [b"[]", b"null", b"1", b"{}", b'"x"'], ids=str)
def test_a_payload_that_is_no_claims_is_refused(payload: bytes) -> None:
    assert why(signed(payload)) == "claims"


@pytest.mark.parametrize("payload", [b"", b"{", b"\xff", b"[" * 2000], ids=lambda payload: ascii(payload[:4]))
def test_a_payload_that_is_no_json_is_refused(payload: bytes) -> None:
    assert why(signed(payload)) == "malformed"


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(st.sampled_from([*CLAIMS, "other"]), ANY_JSON))
def test_claims_of_any_shape_are_refused_without_a_crash(claims: dict[str, Any]) -> None:
    if claims:
        assert not accepted(signed({**CLAIMS, **claims}))


# The request.


def test_a_proof_counts_from_five_seconds_before_its_time_to_sixty_after() -> None:
    proof = signed()
    assert why(proof, now=NOW - 6, nonces=None) == "too_new"
    assert accepted(proof, now=NOW - 5, nonces=None)
    assert accepted(proof, now=NOW + 60, nonces=None)
    assert why(proof, now=NOW + 61, nonces=None) == "too_old"


def test_a_proof_for_another_access_token_is_refused() -> None:
    assert why(GOOD, access_token="another token") == "access_token"
    assert why(GOOD, access_token="") == "access_token"


def test_a_proof_without_a_token_does_not_serve_with_one_nor_the_reverse() -> None:
    without = signed({name: value for name, value in CLAIMS.items() if name != "ath"})
    assert why(without) == "access_token"
    assert accepted(without, access_token=None)
    assert why(GOOD, access_token=None) == "access_token"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "post", ""])
def test_a_proof_for_another_method_is_refused(method: str) -> None:
    assert why(GOOD, method=method) == "method"


@pytest.mark.parametrize(
    "url",
    [
        "https://keys.example/v1/keys/8/release",
        "https://keys.example/v1/keys/7/release/",
        "https://keys.example/v1/keys/7/Release",
        "http://keys.example/v1/keys/7/release",
        "https://keys.example:8443/v1/keys/7/release",
        "https://keys.example.attacker.example/v1/keys/7/release",
        "https://attacker.example/v1/keys/7/release",
        "not a URL",
        "",
    ],
)
def test_a_proof_for_another_url_is_refused(url: str) -> None:
    assert why(GOOD, url=url) == "url"
    assert why(signed({**CLAIMS, "htu": url})) == "url"


def test_neither_query_nor_spelling_of_the_url_matters() -> None:
    for url in (URL + "?page=2", URL + "#top", "HTTPS://Keys.Example:443/v1/./keys/%37/release"):
        assert accepted(GOOD, url=url)
        assert accepted(signed({**CLAIMS, "htu": url}))


# The nonce.


def test_a_nonce_counts_in_its_minute_and_in_the_next() -> None:
    start = NOW - NOW % 60
    nonce = NONCES.fresh_nonce(start)
    assert NONCES.fresh_nonce(start + 59) == nonce != NONCES.fresh_nonce(start + 60)
    assert not NONCES.accepts(nonce, start - 1)
    assert NONCES.accepts(nonce, start)
    assert NONCES.accepts(nonce, start + 119)
    assert not NONCES.accepts(nonce, start + 120)


def test_replicas_with_one_secret_accept_each_other_s_nonces_and_no_others() -> None:
    assert Nonces(b"s" * 32).accepts(NONCES.fresh_nonce(NOW), NOW)
    assert not Nonces(b"t" * 32).accepts(NONCES.fresh_nonce(NOW), NOW)


@pytest.mark.parametrize("nonce", ["", "x", "\ud800", "é" * 43, "A" * 43])
def test_what_is_no_nonce_of_ours_does_not_count(nonce: str) -> None:
    assert not NONCES.accepts(nonce, NOW)


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_nonces_are_made_with_a_secret_of_32_bytes_only(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Nonces(bytes(length))


@pytest.mark.parametrize("nonce", [None, "", "x" * 43, NONCES.fresh_nonce(NOW - 120), NONCES.fresh_nonce(NOW + 60)])
def test_a_proof_without_a_fresh_nonce_is_refused_where_one_is_asked_for(nonce: str | None) -> None:
    proof = signed(
        {**CLAIMS, "nonce": nonce} if nonce is not None else {k: v for k, v in CLAIMS.items() if k != "nonce"}
    )
    assert why(proof) == "nonce"
    assert accepted(proof, nonces=None)


def test_a_fresh_nonce_is_offered_only_for_a_proof_that_has_no_other_fault() -> None:
    stale = {**CLAIMS, "nonce": "x" * 43}
    assert why(signed({**stale, "htm": "GET"})) == "method"
    assert why(signed({**stale, "iat": NOW - 61})) == "too_old"
    assert why(signed(stale), access_token="another token") == "access_token"
    assert why(signed(stale, header={"jwk": public_jwk(ED25519)}, private=Ed25519PrivateKey.generate())) == "signature"


# What is told.


def test_a_refusal_tells_the_outside_nothing_but_that_it_is_one() -> None:
    told = {str(ProofRefused(reason)) for reason in ProofRefusal}
    assert told == {"the DPoP proof does not count"}
    assert isinstance(ProofRefused(ProofRefusal.KEY), Unauthenticated)


def test_nonces_do_not_show_their_secret() -> None:
    shown = f"{NONCES!r} {NONCES}"
    assert "ssss" not in shown
    assert b"s".hex() * 4 not in shown


def test_another_implementation_reads_our_proofs_as_we_do() -> None:
    key = jwt.PyJWK(jwt.get_unverified_header(GOOD)["jwk"], "EdDSA")
    assert jwt.decode(GOOD, key, ["EdDSA"], options={"verify_iat": False}) == CLAIMS
