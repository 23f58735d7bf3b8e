"""Access tokens and grants that a real key server must refuse, and what the client makes of that."""

import base64
import json
import subprocess
import sys
import time
from uuid import uuid4

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from faceseal.client import DpopKey, KeyServer
from faceseal.client.clientkey import own_key
from faceseal.errors import AccessDenied


@pytest.fixture(scope="module")
def signer(running):
    """The server's own signing key: with it, tokens can be wrong in one respect and right in all others."""
    return Ed25519PrivateKey.from_private_bytes((running.data / "issuer.key").read_bytes())


def access_claims(**changes):
    now = int(time.time())
    return {
        "iss": "faceseal-keyserver",
        "aud": "faceseal-keyserver",
        "sub": "rita",
        "tenant": "default",
        "jti": str(uuid4()),
        "iat": now,
        "nbf": now,
        "exp": now + 300,
        "scope": "keys:create",
    } | changes


def signed(claims, signer, **header):
    return jwt.encode(claims, signer, "EdDSA", headers={"typ": "at+jwt", **header})


def unsigned(claims):
    parts = [{"alg": "none", "typ": "at+jwt"}, claims]
    return ".".join([*(base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts), ""])


def test_a_token_that_is_right_in_every_respect_counts(running, signer):
    with KeyServer(running.url, token=signed(access_claims(), signer)) as server:
        assert len(server.create().secret) == 32


@pytest.mark.parametrize(
    "wrong",
    [
        lambda _: unsigned(access_claims()),
        lambda _: signed(access_claims(), Ed25519PrivateKey.generate()),
        lambda signer: signed(access_claims(aud="another-server"), signer),
        lambda signer: signed(access_claims(aud=["faceseal-keyserver", "another-server"]), signer),
        lambda signer: signed(access_claims(iss="another-issuer"), signer),
        lambda signer: signed(access_claims(), signer, typ="JWT"),
        lambda signer: signed(access_claims(), signer, typ="restore-grant+jwt"),
        lambda signer: signed(access_claims(), signer, crit=["x"], x=1),
        lambda signer: signed(access_claims(), signer, jku="https://attacker.example/keys"),
        lambda signer: signed(access_claims(exp=int(time.time()) - 1, nbf=0, iat=0), signer),
        lambda signer: signed(access_claims(nbf=int(time.time()) + 100), signer),
        lambda signer: signed(access_claims(scope="keys:everything"), signer),
        lambda signer: signed({k: v for k, v in access_claims().items() if k != "exp"}, signer),
        lambda _: jwt.encode(access_claims(), "a shared secret of some length, 32+", "HS256", {"typ": "at+jwt"}),
        lambda signer: jwt.encode(access_claims(), signer.public_key().public_bytes_raw(), "HS256", {"typ": "at+jwt"}),
        lambda _: "not-even-a-token",
    ],
    ids=[
        "alg none",
        "another key",
        "another audience",
        "two audiences",
        "another issuer",
        "plain JWT",
        "a grant's type",
        "critical header",
        "key set of its own",
        "expired",
        "not yet valid",
        "unknown scope",
        "no expiry",
        "shared secret",
        "public key as shared secret",
        "no token",
    ],
)
def test_a_token_that_is_wrong_in_one_respect_does_not_count(running, signer, wrong):
    with KeyServer(running.url, token=wrong(signer)) as server, pytest.raises(AccessDenied, match="the token"):
        server.create()


def grant_claims(grant, **changes):
    claims = {name: value for name, value in access_claims().items() if name != "scope"}
    return claims | {"jti": str(grant.id), "sub": "rita"} | changes


def test_a_forged_or_altered_grant_releases_nothing(running, signer, client):
    rita, ben = client("rita"), client("ben")
    key = rita.create()
    grant = rita.request_grant([key.key_id], "a test", uses=50)
    ben.approve_grant(grant.id)

    def grant_token(claims, private=signer, **header):
        return jwt.encode(claims, private, "EdDSA", headers={"typ": "restore-grant+jwt", **header})

    for forged in (
        grant_token(grant_claims(grant), Ed25519PrivateKey.generate()),
        grant_token(grant_claims(grant), typ="at+jwt"),
        grant_token(grant_claims(grant, aud="another-server")),
        grant_token(grant_claims(grant, sub="oscar")),
        grant_token(grant_claims(grant, exp=int(time.time()) - 1, nbf=0, iat=0)),
        grant_token(grant_claims(grant, jti=str(uuid4()))),
        unsigned(grant_claims(grant)),
        unsigned(grant_claims(grant)) + "AAAA",
    ):
        with pytest.raises(AccessDenied):
            rita.release(key.key_id, forged)
    assert rita.grant(grant.id).uses_left == 50
    assert rita.release(key.key_id, str(grant.id)) == key


def test_all_denials_look_alike_from_outside(running, client):
    rita, ben = client("rita"), client("ben")
    key = rita.create()
    grant = rita.request_grant([key.key_id], "a test")
    ben.approve_grant(grant.id)
    token = rita.grant(grant.id).token
    other = rita.create()
    body = {"grant": token, "recipient": "C" + "A" * 42}
    nonce = httpx.get(f"{running.url}/healthz", headers={"dpop": "a proof"}).headers["dpop-nonce"]

    def answer_to(subject, client_key, key_id, request):
        url, access = f"{running.url}/v1/keys/{key_id}/release", running.token(subject)
        proof = client_key.proof("POST", url, access, int(time.time()), nonce)
        return httpx.post(url, json=request, headers={"authorization": f"Bearer {access}", "dpop": proof})

    own, another = own_key(), DpopKey.generate()
    refused = [
        answer_to("rita", own, other.key_id, body),
        answer_to("rita", another, key.key_id, body),
        answer_to("oscar", own, key.key_id, body),
        answer_to("rita", own, key.key_id, body | {"grant": "a.b.c"}),
    ]
    ben.revoke_grant(grant.id)
    refused.append(answer_to("rita", own, key.key_id, body))
    assert {answer.status_code for answer in refused} == {403}
    assert len({answer.content for answer in refused}) == 1


def test_a_token_from_the_command_line_works(running):
    command = [sys.executable, "-m", "keyserver", "token", "--data", running.data, "--subject", "cli"]
    token = subprocess.run([*command, "--scope", "keys:create"], capture_output=True, text=True, check=True).stdout
    with KeyServer(running.url, token=token.strip()) as server:
        assert server.info(server.create().key_id).created_by == "cli"
