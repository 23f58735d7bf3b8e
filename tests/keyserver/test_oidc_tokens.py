"""Forging tokens of configured issuers: every check, and each issuer's key and name used for another's."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Iterator
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from oidc_peer import SIGNERS, OidcPeer, Signer, new_signer, running_peer

from faceseal.wire import Scope, encode_base64url
from keyserver.errors import Unauthenticated
from keyserver.policy import Caller
from keyserver.tokens import AccessVerifier, BuiltinIssuer, TokenRefused
from keyserver.tokens.fetching import fetch_key_set
from keyserver.tokens.issuers import parse_issuers
from keyserver.tokens.jwkscache import JwksCache
from keyserver.tokens.oidc import OidcIssuer
from keyserver.tokens.signingkeys import SigningKeys

NOW = 1_800_000_000
BUILTIN = BuiltinIssuer(lambda: SigningKeys(PRIVATE), "faceseal-keyserver", "faceseal-keyserver")
PRIVATE = Ed25519PrivateKey.generate()
JKT = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"


class Issuer:
    """A peer, and the tokens that it signs."""

    def __init__(self, peer: OidcPeer, prefix: str) -> None:
        self.peer = peer
        self.entry: dict[str, Any] = {
            "issuer": peer.url,
            "audience": "faceseal",
            "discovery": "openid",
            "algorithms": ["EdDSA", "ES256", "ES384", "PS256", "RS256"],
            "tenant": {"fixed": "default"},
            "scopes": {"claim": "scope", "map": {"seal": ["keys:create"], "open": ["keys:release", "grants:request"]}},
            "subject_prefix": prefix,
        }
        peer.describe()
        peer.publish(*(signer.jwk(name) for name, signer in SIGNERS.items()))

    def claims(self, **change: Any) -> dict[str, Any]:
        full = {
            "iss": self.peer.url,
            "aud": "faceseal",
            "sub": "alice",
            "jti": "any string / at all",
            "iat": NOW,
            "exp": NOW + 300,
            "scope": "seal",
            "email": "alice@example.com",
            **change,
        }
        return {name: value for name, value in full.items() if value is not ...}

    def token(self, signer: Signer = SIGNERS["ES256"], kid: str | None = "ES256", **change: Any) -> str:
        return signer.sign(self.claims(**change), kid)


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with running_peer() as peer:
        yield Issuer(peer, "main:")


@pytest.fixture
def other() -> Iterator[Issuer]:
    with running_peer() as peer:
        yield Issuer(peer, "other:")


def verifier_of(*issuers: Issuer, **change: Any) -> AccessVerifier:
    configs = parse_issuers(json.dumps([{**issuer.entry, **change} for issuer in issuers]).encode())
    return AccessVerifier(
        BUILTIN, [OidcIssuer(each, JwksCache(each.issuer, partial(fetch_key_set, each))) for each in configs]
    )


def caller(verifier: AccessVerifier, token: str, now: int = NOW, proven_key: str | None = None) -> Caller:
    return asyncio.run(verifier.authenticate(token, lambda: now, proven_key))


def why(verifier: AccessVerifier, token: str, now: int = NOW, proven_key: str | None = None) -> str:
    with pytest.raises(Unauthenticated) as refusal:
        caller(verifier, token, now, proven_key)
    assert isinstance(refusal.value, TokenRefused)
    # Whatever the reason, outside it reads the same.
    assert str(refusal.value) == "the token does not count"
    return refusal.value.why.value


@pytest.mark.parametrize("algorithm", SIGNERS)
def test_a_token_of_every_algorithm_says_who_may_do_what(issuer: Issuer, algorithm: str) -> None:
    token = issuer.token(SIGNERS[algorithm], algorithm, scope="seal unknown open")
    scopes = frozenset({Scope.KEYS_CREATE, Scope.KEYS_RELEASE, Scope.GRANTS_REQUEST})
    expected = Caller("main:alice", "default", scopes, "any string / at all")
    assert caller(verifier_of(issuer), token) == expected


def test_the_built_in_issuers_tokens_count_beside_the_others_without_asking_anybody(issuer: Issuer) -> None:
    token_id = uuid4()
    token = BUILTIN.issue_access("alice", "default", frozenset({Scope.AUDIT_READ}), token_id, NOW, 60)
    assert caller(verifier_of(issuer), token) == Caller(
        "alice", "default", frozenset({Scope.AUDIT_READ}), str(token_id)
    )
    assert issuer.peer.asked == []


def test_the_same_person_at_two_issuers_is_two_subjects(issuer: Issuer, other: Issuer) -> None:
    verifier = verifier_of(issuer, other)
    assert {caller(verifier, each.token()).subject for each in (issuer, other)} == {"main:alice", "other:alice"}


def test_the_built_in_issuer_cannot_name_another_issuers_subjects(issuer: Issuer) -> None:
    token = BUILTIN.issue_access("main:alice", "default", frozenset(Scope), uuid4(), NOW, 60)
    assert why(verifier_of(issuer), token) == "subject"
    assert caller(verifier_of(), token).subject == "main:alice"


def test_no_issuer_can_be_configured_under_the_built_in_ones_name() -> None:
    with running_peer() as peer:
        named = BuiltinIssuer(lambda: SigningKeys(PRIVATE), peer.url, "faceseal")
        (config,) = parse_issuers(json.dumps([Issuer(peer, "main:").entry]).encode())
        with pytest.raises(ValueError, match="built-in"):
            AccessVerifier(named, [OidcIssuer(config, JwksCache(peer.url, partial(fetch_key_set, config)))])


def test_an_issuers_key_counts_for_no_other_issuer(issuer: Issuer, other: Issuer) -> None:
    mine, theirs = new_signer("ES256"), new_signer("ES256")
    issuer.peer.publish(mine.jwk("one"))
    other.peer.publish(theirs.jwk("two"))
    verifier = verifier_of(issuer, other)
    assert caller(verifier, mine.sign(issuer.claims(), "one")).subject == "main:alice"
    assert caller(verifier, theirs.sign(other.claims(), "two")).subject == "other:alice"
    assert why(verifier, theirs.sign(issuer.claims(), "two")) == "key"
    # Under the very kid of the other issuer's key the signature does not fit.
    assert why(verifier, theirs.sign(issuer.claims(), "one")) == "signature"
    other.peer.publish(theirs.jwk("one"))
    assert why(verifier, theirs.sign(issuer.claims(), "one"), NOW + 60) == "signature"


def test_nobody_signs_for_the_built_in_issuer_but_itself(issuer: Issuer) -> None:
    claims = issuer.claims(iss="faceseal-keyserver", aud="faceseal-keyserver", email=..., tenant="default", nbf=NOW)
    claims |= {"jti": str(uuid4()), "scope": "keys:create"}
    verifier = verifier_of(issuer)
    assert why(verifier, SIGNERS["EdDSA"].sign(claims, "EdDSA")) == "key"
    assert why(verifier, SIGNERS["EdDSA"].sign(claims, None)) == "signature"
    assert why(verifier, SIGNERS["ES256"].sign(claims, "ES256")) == "header"
    assert issuer.peer.asked == []


@pytest.mark.parametrize(
    "name", ["https://attacker.example", "", None, 7, ["URL"], {"URL": 1}, "URL/", "URL\u0000", ...], ids=str
)
def test_an_issuer_that_is_not_configured_is_refused_and_nobody_is_asked(issuer: Issuer, name: Any) -> None:
    named = json.loads(json.dumps(name).replace("URL", issuer.peer.url)) if name is not ... else ...
    assert why(verifier_of(issuer), issuer.token(iss=named)) == "issuer"
    assert issuer.peer.asked == []


@pytest.mark.parametrize("payload", [b"", b"[]", b"null", b"{", b"\xff", b"[" * 2000, b'{"iss": NaN}'], ids=ascii)
def test_a_payload_that_is_no_claims_is_refused(issuer: Issuer, payload: bytes) -> None:
    assert why(verifier_of(issuer), SIGNERS["ES256"].sign(payload)) == "claims"


def test_claims_that_are_there_twice_are_refused(issuer: Issuer) -> None:
    twice = json.dumps(issuer.claims()).replace("{", '{"sub": "bob", ', 1)
    assert why(verifier_of(issuer), SIGNERS["ES256"].sign(twice.encode(), "ES256")) == "claims"
    names = json.dumps(issuer.claims()).replace("{", f'{{"iss": "{BUILTIN.name}", ', 1)
    assert why(verifier_of(issuer), SIGNERS["ES256"].sign(names.encode(), "ES256")) == "claims"


@pytest.mark.parametrize(
    "typ", ["JWT", "AT+JWT", "application/at+jwt", "restore-grant+jwt", "dpop+jwt", "id_token+jwt", ""]
)
def test_any_other_type_is_refused_unless_it_is_configured(issuer: Issuer, typ: str) -> None:
    token = SIGNERS["ES256"].sign(issuer.claims(), "ES256", typ)
    assert why(verifier_of(issuer), token) == "header"
    if typ:
        assert caller(verifier_of(issuer, token_types=[typ]), token).subject == "main:alice"


def test_an_algorithm_that_is_not_configured_is_refused_whatever_the_issuer_publishes(issuer: Issuer) -> None:
    verifier = verifier_of(issuer, algorithms=["ES256"])
    assert why(verifier, issuer.token(SIGNERS["RS256"], "RS256")) == "header"
    assert caller(verifier, issuer.token()).subject == "main:alice"


def test_an_rsa_key_is_no_hmac_secret(issuer: Issuer) -> None:
    public = SIGNERS["RS256"].private.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    verifier = verifier_of(issuer)
    for name, expected in (("HS256", "header"), ("RS256", "signature"), ("none", "header")):
        head = encode_base64url(json.dumps({"alg": name, "typ": "at+jwt", "kid": "RS256"}).encode())
        text = f"{head}.{encode_base64url(json.dumps(issuer.claims()).encode())}"
        assert why(verifier, f"{text}.{encode_base64url(hmac.digest(pem, text.encode(), 'sha256'))}") == expected
        assert why(verifier, f"{text}.") == expected


def test_a_key_is_used_with_its_own_algorithm_only(issuer: Issuer) -> None:
    verifier = verifier_of(issuer)
    rsa = SIGNERS["RS256"].private
    assert why(verifier, Signer("PS256", rsa).sign(issuer.claims(), "RS256")) == "header"
    assert why(verifier, Signer("PS256", rsa).sign(issuer.claims(), "PS256")) == "signature"
    assert why(verifier, issuer.token(SIGNERS["ES384"], "ES256")) == "header"


@pytest.mark.parametrize(
    "header",
    [
        {"jwk": SIGNERS["ES256"].jwk("one")},
        {"jku": "https://attacker.example/jwks"},
        {"x5u": "https://attacker.example"},
        {"x5t": "AAAA"},
        {"crit": ["exp"]},
        {"cty": "JWT"},
        {"zip": "DEF"},
    ],
    ids=lambda header: "+".join(header),
)
def test_a_header_with_anything_more_is_refused(issuer: Issuer, header: dict[str, Any]) -> None:
    assert why(verifier_of(issuer), SIGNERS["ES256"].sign(issuer.claims(), "ES256", **header)) == "header"
    assert issuer.peer.asked == []


@pytest.mark.parametrize(
    "kid", ["../../etc/passwd", "'; DROP TABLE keys --", "http://attacker.example/key", "es256", "ES256 "]
)
def test_a_kid_is_a_name_and_nothing_else(issuer: Issuer, kid: str) -> None:
    assert why(verifier_of(issuer), issuer.token(kid=kid)) == "key"
    assert set(issuer.peer.asked) == {"/.well-known/openid-configuration", "/jwks"}


def test_without_a_kid_a_token_counts_only_if_the_issuer_has_a_single_key(issuer: Issuer) -> None:
    assert why(verifier_of(issuer), issuer.token(kid=None)) == "key"
    issuer.peer.publish(SIGNERS["ES256"].jwk("one"))
    assert caller(verifier_of(issuer), issuer.token(kid=None)).subject == "main:alice"


@pytest.mark.parametrize(
    "change", [{"use": "enc"}, {"key_ops": ["encrypt"]}, {"use": "enc", "key_ops": ["verify"]}], ids=str
)
def test_a_key_for_encryption_verifies_nothing(issuer: Issuer, change: dict[str, Any]) -> None:
    issuer.peer.publish(SIGNERS["ES256"].jwk("ES256") | change, SIGNERS["EdDSA"].jwk("EdDSA"))
    verifier = verifier_of(issuer)
    assert why(verifier, issuer.token()) == "key"
    assert caller(verifier, issuer.token(SIGNERS["EdDSA"], "EdDSA")).subject == "main:alice"


@pytest.mark.parametrize("name", ["aud", "sub", "jti", "iat", "exp"])
def test_every_claim_that_identifies_or_limits_is_required(issuer: Issuer, name: str) -> None:
    assert why(verifier_of(issuer), issuer.token(**{name: ...})) == "claims"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"aud": "another"}, "audience"),
        ({"aud": "Faceseal"}, "audience"),
        ({"aud": ["another", "third"]}, "audience"),
        ({"aud": []}, "claims"),
        ({"aud": [["faceseal"]]}, "claims"),
        ({"aud": {"faceseal": 1}}, "claims"),
        ({"aud": ["faceseal"] * 101}, "claims"),
        ({"sub": ""}, "claims"),
        ({"sub": "line\nbreak"}, "claims"),
        ({"sub": "\ud800"}, "claims"),
        ({"sub": 7}, "claims"),
        ({"sub": "a" * 201}, "claims"),
        ({"sub": "a" * 196}, "subject"),
        ({"jti": ""}, "claims"),
        ({"jti": "a" * 201}, "claims"),
        ({"jti": "\u0000"}, "claims"),
        ({"jti": 7}, "claims"),
        ({"exp": NOW}, "expired"),
        ({"exp": NOW - 1}, "expired"),
        ({"exp": NOW + 0.5}, "claims"),
        ({"exp": str(NOW + 60)}, "claims"),
        ({"exp": True}, "claims"),
        ({"exp": NOW + 90 * 86400 + 1}, "claims"),
        ({"exp": 10**400}, "claims"),
        ({"iat": 0}, "claims"),
        ({"iat": -1}, "claims"),
        ({"iat": NOW + 31}, "not_yet_valid"),
        ({"nbf": NOW + 31}, "not_yet_valid"),
        ({"nbf": None}, "claims"),
        ({"scope": 7}, "scopes"),
        ({"scope": [7]}, "scopes"),
        ({"scope": {"seal": True}}, "scopes"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_claim_that_does_not_fit_is_refused(issuer: Issuer, change: dict[str, Any], reason: str) -> None:
    assert why(verifier_of(issuer), issuer.token(**change)) == reason


def test_an_audience_may_be_one_of_several_and_an_issuers_clock_a_little_ahead(issuer: Issuer) -> None:
    token = issuer.token(aud=["another", "faceseal"], iat=NOW + 30, nbf=NOW + 30, sub="a" * 195, jti="j" * 200)
    assert caller(verifier_of(issuer), token).token_id == "j" * 200


def test_a_token_counts_to_just_before_its_end(issuer: Issuer) -> None:
    verifier, token = verifier_of(issuer), issuer.token()
    assert caller(verifier, token, NOW + 299).subject == "main:alice"
    assert why(verifier, token, NOW + 300) == "expired"


@pytest.mark.parametrize(
    "tenant", ["", "De Fault", "../default", 7, None, ["default"], "a" * 65, "default\n", ...], ids=str
)
def test_a_tenant_that_is_no_tenants_name_is_refused(issuer: Issuer, tenant: Any) -> None:
    assert why(verifier_of(issuer, tenant={"claim": "org"}), issuer.token(org=tenant)) == "tenant"


def test_the_tenant_comes_from_its_claim_and_only_from_among_those_allowed(issuer: Issuer) -> None:
    rule = {"claim": ["https://faceseal.example/org", "name"], "among": ["a", "b"]}
    verifier = verifier_of(issuer, tenant=rule)
    for tenant in ("a", "b"):
        assert caller(verifier, issuer.token(**{"https://faceseal.example/org": {"name": tenant}})).tenant == tenant
    assert why(verifier, issuer.token(**{"https://faceseal.example/org": {"name": "c"}})) == "tenant"
    assert why(verifier, issuer.token(**{"https://faceseal.example/org": "a"})) == "tenant"
    # A claim called tenant does not change a fixed one.
    assert caller(verifier_of(issuer), issuer.token(tenant="other", org="other")).tenant == "default"


def test_scopes_are_what_the_map_says_and_never_what_the_token_says(issuer: Issuer) -> None:
    nested = {"claim": ["realm_access", "roles"], "map": {"restorer": ["keys:release"]}}
    verifier = verifier_of(issuer, scopes=nested)
    roles = {"roles": ["restorer", "keys:admin", "offline_access"]}
    assert caller(verifier, issuer.token(realm_access=roles, scope="keys:admin")).scopes == {Scope.KEYS_RELEASE}
    assert caller(verifier, issuer.token(scope="restorer keys:admin audit:read")).scopes == frozenset()
    assert caller(verifier_of(issuer), issuer.token(scope="keys:admin  seal")).scopes == {Scope.KEYS_CREATE}


def test_a_token_that_is_bound_to_a_key_counts_only_for_who_proved_to_hold_it(issuer: Issuer) -> None:
    verifier, bound = verifier_of(issuer), issuer.token(cnf={"jkt": JKT})
    assert why(verifier, bound) == "binding"
    assert why(verifier, bound, proven_key=JKT[::-1]) == "binding"
    assert caller(verifier, bound, proven_key=JKT).subject == "main:alice"
    for other_binding in ({"x5t#S256": "AAAA"}, {"jkt": JKT, "x5t#S256": "AAAA"}, {}, None, JKT, {"jkt": None}):
        assert why(verifier, issuer.token(cnf=other_binding), proven_key=JKT) == "binding"
        assert why(verifier, issuer.token(cnf=other_binding)) == "binding"


def test_a_token_over_the_bound_is_refused_before_anybody_is_asked(issuer: Issuer) -> None:
    assert why(verifier_of(issuer), issuer.token(padding="a" * 8192)) == "malformed"
    assert issuer.peer.asked == []


def test_no_token_of_an_issuer_survives_another_character_anywhere(issuer: Issuer) -> None:
    verifier, token = verifier_of(issuer), issuer.token()
    caller(verifier, token)
    for place in range(0, len(token), 5):
        swapped = "B" if token[place] != "B" else "C"
        assert why(verifier, token[:place] + swapped + token[place + 1 :])


def test_many_tokens_wait_for_one_fetch_without_holding_up_anything_else(issuer: Issuer) -> None:
    issuer.peer.answers["/jwks"].waits = True
    verifier, token = verifier_of(issuer), issuer.token()
    builtin = BUILTIN.issue_access("bob", "default", frozenset(Scope), uuid4(), NOW, 60)

    async def at_once() -> list[Caller]:
        waiting = [asyncio.create_task(verifier.authenticate(token, lambda: NOW)) for _ in range(200)]
        await asyncio.sleep(0.05)
        assert not any(task.done() for task in waiting)
        assert (await verifier.authenticate(builtin, lambda: NOW)).subject == "bob"
        # One that goes away does not take the fetch from the others.
        waiting.pop().cancel()
        await asyncio.sleep(0)
        issuer.peer.go.set()
        return await asyncio.gather(*waiting)

    assert {each.subject for each in asyncio.run(at_once())} == {"main:alice"}
    assert issuer.peer.asked == ["/.well-known/openid-configuration", "/jwks"]


def test_nothing_shows_a_token_or_a_key(issuer: Issuer) -> None:
    token = issuer.token(aud="another")
    with pytest.raises(TokenRefused) as refusal:
        caller(verifier_of(issuer), token)
    assert token not in repr(refusal.value)
    assert PRIVATE.private_bytes_raw().hex() not in repr(SigningKeys(PRIVATE))
