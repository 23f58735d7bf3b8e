"""Which requests carry proofs, with which nonces, and what happens when a server wants another one."""

import json
from uuid import UUID

import jwt
import pytest

from faceseal import wire
from faceseal.client import DpopKey, KeyServer
from faceseal.client.connection import Connection
from faceseal.client.credentials import bound_key_of
from faceseal.errors import AccessDenied, ClientKeyError, ServerMisbehaved, ServerUnavailable

KEY = UUID("01890000-0000-7000-8000-000000000001")
GRANT = UUID("01890000-0000-7000-8000-00000000000a")
NOW = 1_800_000_000
MINE = DpopKey.generate()
EMPTY = wire.KeyPage(keys=[])
PROBLEM = wire.Problem(type=wire.PROBLEM_BASE + "proof-needed", title="A valid DPoP proof is needed", status=401)


def token_with(**claims):
    parts = [{"alg": "EdDSA", "typ": "at+jwt"}, {"sub": "rita", **claims}]
    return ".".join([*(wire.encode_base64url(json.dumps(part).encode()) for part in parts), "c2lnbmF0dXJl"])


def nonce_wanted(http, nonce="fresh"):
    extra = f'www-authenticate: DPoP error="use_dpop_nonce", algs="EdDSA"\r\ndpop-nonce: {nonce}\r\n'
    return http(401, PROBLEM, "application/problem+json", extra)


def claims_of(request):
    proof = request.headers["dpop"]
    key = jwt.PyJWK(jwt.get_unverified_header(proof)["jwk"])
    return jwt.decode(proof, key, ["EdDSA"], options={"verify_iat": False})


@pytest.fixture
def server(peer):
    with KeyServer(peer.url, token="t", timeout=5, client_key=MINE) as opened:
        yield opened


@pytest.fixture
def proving(peer):
    """A connection whose every request carries a proof, with a clock that stands still."""
    connection = Connection(peer.url + "/prefix", "t", 5, None, lambda: MINE, lambda: NOW + 0.9)
    assert connection.prove() == MINE.thumbprint
    yield connection
    connection.close()


def test_a_proof_is_for_this_very_request_and_token(peer, proving, http):
    peer.script = lambda _: [http(200, EMPTY)]
    proving.get("/v1/keys", wire.KeyPage)
    claims = claims_of(peer.requests[0])
    assert (claims["htm"], claims["htu"], claims["iat"]) == ("GET", f"{peer.url}/prefix/v1/keys", NOW)
    assert peer.requests[0].path == "/prefix/v1/keys"
    assert "nonce" not in claims


def test_the_latest_nonce_of_the_server_is_in_the_next_proof_whatever_the_answer_was(peer, proving, http):
    answers = iter(
        [
            http(200, EMPTY, extra="dpop-nonce: one\r\n"),
            http(404, PROBLEM.model_copy(update={"status": 404}), "application/problem+json", "dpop-nonce: two\r\n"),
            http(200, EMPTY),
            http(200, EMPTY),
        ]
    )
    peer.script = lambda _: [next(answers)]
    proving.get("/v1/keys", wire.KeyPage)
    with pytest.raises(Exception, match="no such key"):
        proving.get("/v1/keys", wire.KeyPage)
    for _ in range(2):
        proving.get("/v1/keys", wire.KeyPage)
    assert [claims_of(request).get("nonce") for request in peer.requests] == [None, "one", "two", "two"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_nonce_that_is_asked_for_is_given_once_with_a_new_proof(peer, proving, http, method):
    peer.script = lambda request: [
        http(200, EMPTY) if claims_of(request).get("nonce") == "fresh" else nonce_wanted(http)
    ]
    if method == "GET":
        proving.get("/v1/keys", wire.KeyPage)
    else:
        proving.send("POST", "/v1/keys", None, 200, wire.KeyPage)
    first, second = (claims_of(request) for request in peer.requests)
    assert first["jti"] != second["jti"]


def test_a_server_that_never_is_content_with_a_nonce_is_asked_twice(peer, proving, http):
    peer.script = lambda _: [nonce_wanted(http)]
    with pytest.raises(ServerMisbehaved, match=r"nonce\.key"):
        proving.get("/v1/keys", wire.KeyPage)
    assert len(peer.requests) == 2


def test_without_a_proof_nobody_is_sent_one_for_the_asking(peer, http):
    peer.script = lambda _: [nonce_wanted(http)]
    with KeyServer(peer.url, token="t", timeout=5) as server, pytest.raises(ServerMisbehaved):
        server.list_keys()
    assert [("dpop" in request.headers) for request in peer.requests] == [False]


def test_what_a_hostile_server_sends_as_a_nonce_is_not_signed(peer, proving, http):
    peer.script = lambda _: [nonce_wanted(http, 'a"b')]
    with pytest.raises(ServerMisbehaved, match="nonce that is not one"):
        proving.get("/v1/keys", wire.KeyPage)
    assert len(peer.requests) == 1


def test_a_proof_that_is_refused_is_told_from_a_token_that_is(peer, proving, http):
    for challenge, words in (
        ('DPoP error="invalid_dpop_proof"', "clock"),
        ("Bearer, DPoP", "does not accept the token"),
    ):
        extra = f"www-authenticate: {challenge}\r\n"
        peer.script = lambda _, extra=extra: [http(401, PROBLEM, "application/problem+json", extra)]
        with pytest.raises(AccessDenied, match=words):
            proving.get("/v1/keys", wire.KeyPage)


def test_a_connection_that_was_lost_is_tried_again_with_another_proof(peer, proving, http):
    peer.script = lambda _: [http(200, EMPTY)] if len(peer.requests) == 3 else [b""]
    proving.get("/v1/keys", wire.KeyPage)
    assert len({claims_of(request)["jti"] for request in peer.requests}) == 3


def test_a_release_whose_answer_was_lost_is_asked_for_again_with_another_proof(peer, server):
    grant = token_with(jti=str(GRANT))
    for _ in range(2):
        with pytest.raises((ServerMisbehaved, ServerUnavailable)):
            server.release(KEY, grant)
    assert len(peer.requests) > 2
    assert {request.path for request in peer.requests} == {f"/v1/keys/{KEY}/release"}
    assert len({claims_of(request)["jti"] for request in peer.requests}) == len(peer.requests)
    # By which the server knows: there are two releases, each asked for until the client gave up.
    assert len({request.headers["idempotency-key"] for request in peer.requests}) == 2


def test_only_what_needs_the_key_asks_for_it_and_from_then_on_every_request_proves_it(peer, http):
    asked = []

    def mine():
        asked.append(None)
        return MINE

    connection = Connection(peer.url, "t", 5, None, mine)
    peer.script = lambda _: [http(200, EMPTY)]
    connection.get("/v1/keys", wire.KeyPage)
    assert not asked
    connection.prove()
    for _ in range(2):
        connection.get("/v1/keys", wire.KeyPage)
    assert len(asked) == 1
    assert [("dpop" in request.headers) for request in peer.requests] == [False, True, True]
    assert {request.headers["authorization"] for request in peer.requests} == {"Bearer t"}
    connection.close()


def test_a_token_that_is_bound_goes_with_its_own_scheme_and_a_proof_from_the_first_request_on(peer, http):
    peer.script = lambda _: [http(200, EMPTY)]
    token = token_with(cnf={"jkt": MINE.thumbprint})
    with KeyServer(peer.url, token=token, timeout=5, client_key=MINE) as server:
        server.list_keys()
    assert peer.requests[0].headers["authorization"] == f"DPoP {token}"
    assert claims_of(peer.requests[0])["htu"] == f"{peer.url}/v1/keys"


def test_a_token_of_another_client_is_not_even_sent(peer):
    other = DpopKey.generate()
    token = token_with(cnf={"jkt": other.thumbprint})
    with (
        KeyServer(peer.url, token=token, timeout=5, client_key=MINE) as server,
        pytest.raises(ClientKeyError, match=f"bound to another client's key; .* {MINE.thumbprint}"),
    ):
        server.list_keys()
    assert peer.requests == []


@pytest.mark.parametrize(
    "token",
    [
        "t",
        "a.b.c",
        token_with(),
        token_with(cnf=None),
        token_with(cnf={}),
        token_with(cnf={"jkt": 1}),
        token_with(cnf=[]),
    ],
)
def test_what_names_no_key_is_no_bound_token(token):
    assert bound_key_of(token) is None
