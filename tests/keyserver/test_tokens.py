"""Forging tokens: each way that RFC 8725 warns of, and each kind of token for the other."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from faceseal.wire import Scope, encode_base64url
from keyserver.tokens import BuiltinIssuer, TokenRefused
from keyserver.tokens.signingkeys import SigningKeys
from keyserver.tokens.thumbprint import thumbprint

NOW = 1_800_000_000
PRIVATE = Ed25519PrivateKey.generate()
ISSUER = BuiltinIssuer(lambda: SigningKeys(PRIVATE), "faceseal-keyserver", "faceseal-keyserver")
SCOPES = frozenset({Scope.KEYS_CREATE, Scope.KEYS_RELEASE})
TOKEN_ID = UUID("01890000-0000-7000-8000-00000000000a")
CLAIMS = {
    "iss": "faceseal-keyserver",
    "aud": "faceseal-keyserver",
    "sub": "alice",
    "tenant": "default",
    "jti": str(TOKEN_ID),
    "iat": NOW,
    "nbf": NOW,
    "exp": NOW + 60,
    "scope": "keys:create keys:release",
}
GRANT_CLAIMS = {name: value for name, value in CLAIMS.items() if name != "scope"}


def signed(
    claims: object, header: dict[str, Any] | None = None, typ: str | None = "at+jwt", private: Any = PRIVATE
) -> str:
    """A token with this very header and payload, correctly signed."""
    full = {"alg": "EdDSA", "typ": typ, **(header or {})}
    full = {name: value for name, value in full.items() if value is not None}
    head = encode_base64url(json.dumps(full).encode())
    body = encode_base64url(claims if isinstance(claims, bytes) else json.dumps(claims).encode())
    return f"{head}.{body}.{encode_base64url(private.sign(f'{head}.{body}'.encode()))}"


def why(token: str, now: int = NOW) -> str:
    with pytest.raises(TokenRefused) as refusal:
        ISSUER.verify_access(token, now)
    assert str(refusal.value) == "the token does not count"
    return refusal.value.why.value


def test_an_issued_token_says_who_and_what() -> None:
    token = ISSUER.issue_access("alice", "default", SCOPES, TOKEN_ID, NOW, 60)
    caller = ISSUER.verify_access(token, NOW).caller()
    assert (caller.subject, caller.tenant, caller.scopes, caller.token_id) == (
        "alice",
        "default",
        SCOPES,
        str(TOKEN_ID),
    )


def test_a_token_that_this_file_signs_is_accepted_so_that_the_forgeries_fail_for_their_own_reason() -> None:
    assert ISSUER.verify_access(signed(CLAIMS), NOW).sub == "alice"


def test_grant_and_access_token_never_pass_for_each_other() -> None:
    grant = ISSUER.issue_grant(uuid4(), "alice", "default", NOW, NOW + 60)
    access = ISSUER.issue_access("alice", "default", SCOPES, TOKEN_ID, NOW, 60)
    assert why(grant) == "header"
    with pytest.raises(TokenRefused):
        ISSUER.verify_grant(access, NOW)
    # Nor with the other's claims under the own type.
    assert why(signed(GRANT_CLAIMS)) == "claims"
    with pytest.raises(TokenRefused):
        ISSUER.verify_grant(signed(CLAIMS, typ="restore-grant+jwt"), NOW)


def test_the_token_of_a_grant_is_always_the_same() -> None:
    grant_id = uuid4()
    assert len({ISSUER.issue_grant(grant_id, "alice", "default", NOW, NOW + 60) for _ in range(3)}) == 1


@pytest.mark.parametrize(
    "typ", [None, "", "JWT", "jwt", "AT+JWT", "application/at+jwt", "at+jwt ", "restore-grant+jwt", 1]
)
def test_any_other_type_is_refused(typ: str | None) -> None:
    assert why(signed(CLAIMS, typ=typ)) == "header"


@pytest.mark.parametrize("alg", [None, "none", "None", "", "HS256", "ES256", "RS256", "Ed25519", "eddsa", ["EdDSA"]])
def test_any_other_algorithm_is_refused(alg: object) -> None:
    assert why(signed(CLAIMS, {"alg": alg})) == "header"


def test_an_unsigned_token_is_refused() -> None:
    head = encode_base64url(json.dumps({"alg": "none", "typ": "at+jwt"}).encode())
    body = encode_base64url(json.dumps(CLAIMS).encode())
    assert why(f"{head}.{body}.") == "header"
    good_head = signed(CLAIMS).split(".")[0]
    assert why(f"{good_head}.{body}.") == "signature"


def test_the_public_key_does_not_serve_as_an_hmac_secret() -> None:
    public = PRIVATE.public_key().public_bytes_raw()
    assert why(jwt.encode(CLAIMS, public, "HS256", headers={"typ": "at+jwt"})) == "header"


def test_a_token_under_another_curve_is_refused() -> None:
    token = jwt.encode(CLAIMS, generate_private_key(SECP256R1()), "ES256", headers={"typ": "at+jwt"})
    assert why(token) == "header"


@pytest.mark.parametrize(
    "header",
    [
        {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}},
        {"jku": "https://attacker.example/jwks"},
        {"x5u": "https://attacker.example/cert"},
        {"x5c": ["AAAA"]},
        {"crit": ["exp"], "exp": 1},
        {"crit": []},
        {"crit": ["b64"], "b64": False},
        {"b64": False},
        {"zip": "DEF"},
        {"cty": "JWT"},
    ],
    ids=lambda header: "+".join(header),
)
def test_a_header_with_anything_more_is_refused(header: dict[str, Any]) -> None:
    assert why(signed(CLAIMS, header)) == "header"


@pytest.mark.parametrize(
    ("kid", "reason"),
    [
        ("../../dev/null", "key"),
        ("' OR 1=1 --", "key"),
        ("", "header"),
        ("a" * 201, "header"),
        ("line\nbreak", "header"),
        ("é", "header"),
        (7, "header"),
        ([], "header"),
    ],
)
def test_a_kid_that_names_no_key_of_this_issuer_is_refused(kid: object, reason: str) -> None:
    assert why(signed(CLAIMS, {"kid": kid})) == reason


def test_issued_tokens_name_their_key_by_its_thumbprint_and_older_ones_without_a_name_still_count() -> None:
    token = ISSUER.issue_access("alice", "default", SCOPES, TOKEN_ID, NOW, 60)
    kid = jwt.get_unverified_header(token)["kid"]
    public = {"kty": "OKP", "crv": "Ed25519", "x": encode_base64url(PRIVATE.public_key().public_bytes_raw())}
    assert kid == thumbprint(public)
    assert ISSUER.verify_access(signed(CLAIMS, {"kid": kid}), NOW) == ISSUER.verify_access(signed(CLAIMS), NOW)


def test_a_member_of_header_or_claims_that_is_there_twice_is_refused() -> None:
    body = encode_base64url(json.dumps(CLAIMS).encode())
    head = encode_base64url(b'{"alg":"EdDSA","typ":"at+jwt","typ":"at+jwt"}')
    assert why(f"{head}.{body}.{encode_base64url(PRIVATE.sign(f'{head}.{body}'.encode()))}") == "malformed"
    assert why(signed(json.dumps(CLAIMS).replace("{", '{"sub": "bob", ', 1).encode())) == "claims"


def test_a_key_that_comes_with_the_token_is_not_believed() -> None:
    attacker = Ed25519PrivateKey.generate()
    own = {"kty": "OKP", "crv": "Ed25519", "x": encode_base64url(attacker.public_key().public_bytes_raw())}
    assert why(signed(CLAIMS, {"jwk": own}, private=attacker)) == "header"
    assert why(signed(CLAIMS, private=attacker)) == "signature"


def test_every_altered_character_is_noticed() -> None:
    token = signed(CLAIMS)
    for place in range(0, len(token), 7):
        swapped = "B" if token[place] != "B" else "C"
        with pytest.raises(TokenRefused):
            ISSUER.verify_access(token[:place] + swapped + token[place + 1 :], NOW)


@pytest.mark.parametrize("name", sorted(CLAIMS))
def test_every_claim_is_required(name: str) -> None:
    assert why(signed({key: value for key, value in CLAIMS.items() if key != name})) == "claims"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"iss": "somebody-else"}, "issuer"),
        ({"aud": "somebody-else"}, "audience"),
        ({"aud": ["faceseal-keyserver"]}, "claims"),
        ({"sub": ""}, "claims"),
        ({"sub": "a" * 201}, "claims"),
        ({"sub": "line\nbreak"}, "claims"),
        ({"sub": 7}, "claims"),
        ({"tenant": "De Fault"}, "claims"),
        ({"tenant": ""}, "claims"),
        ({"jti": "x"}, "claims"),
        ({"scope": "keys:everything"}, "claims"),
        ({"scope": "keys:create  keys:release"}, "claims"),
        ({"scope": ["keys:create"]}, "claims"),
        ({"exp": NOW}, "expired"),
        ({"exp": NOW - 1}, "expired"),
        ({"exp": NOW + 0.5}, "claims"),
        ({"exp": str(NOW + 60)}, "claims"),
        ({"exp": 1e400}, "claims"),
        ({"exp": True}, "claims"),
        ({"nbf": NOW + 1}, "not_yet_valid"),
        ({"iat": NOW + 1}, "not_yet_valid"),
        ({"iat": -1}, "claims"),
        ({"admin": True}, "claims"),
    ],
    ids=str,
)
def test_a_claim_that_does_not_fit_is_refused(change: dict[str, object], reason: str) -> None:
    assert why(signed({**CLAIMS, **change})) == reason


def test_a_token_counts_from_its_beginning_to_just_before_its_end() -> None:
    token = ISSUER.issue_access("alice", "default", SCOPES, TOKEN_ID, NOW, 60)
    assert why(token, NOW - 1) == "not_yet_valid"
    ISSUER.verify_access(token, NOW)
    ISSUER.verify_access(token, NOW + 59)
    assert why(token, NOW + 60) == "expired"


GOOD = signed(CLAIMS)


@pytest.mark.parametrize(
    "token",
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
        GOOD.replace(".", "=.", 1),
        GOOD.rpartition(".")[0],
        GOOD.replace("-", "+").replace("_", "/") + "+",
        "é" + GOOD,
        "\ud800" + GOOD,
        encode_base64url(b"[" * 2000) + ".AAAA.AAAA",
        encode_base64url(b"9" * 3000) + ".AAAA.AAAA",
    ],
    ids=lambda token: ascii(token[:12]),
)
def test_garbage_is_refused_without_a_crash(token: str) -> None:
    assert why(token) in ("malformed", "header")


def test_base64_with_spare_bits_set_is_refused() -> None:
    # A signature of 64 bytes leaves four spare bits in its last character.
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".index(GOOD[-1])
    assert last % 16 == 0
    alias = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[last + 1]
    assert why(GOOD[:-1] + alias) == "malformed"


def test_a_token_over_the_bound_is_refused_before_it_is_parsed() -> None:
    assert why(signed({**CLAIMS, "sub": "a" * 5000})) == "malformed"


@pytest.mark.parametrize("payload", [b"", b"[]", b"null", b"{", b"\xff", b"[" * 2000], ids=str)
def test_a_signed_payload_that_is_no_claims_is_refused(payload: bytes) -> None:
    assert why(signed(payload)) == "claims"


@pytest.mark.parametrize("lifetime", [0, -1, 90 * 86400 + 1])
def test_no_token_is_issued_for_a_strange_lifetime(lifetime: int) -> None:
    with pytest.raises(ValueError, match="seconds"):
        ISSUER.issue_access("alice", "default", SCOPES, TOKEN_ID, NOW, lifetime)


def test_the_issuer_does_not_show_its_key() -> None:
    assert PRIVATE.private_bytes_raw().hex() not in repr(ISSUER)
