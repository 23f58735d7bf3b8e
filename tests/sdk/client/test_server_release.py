"""Keys on their way from a server that cheats: foreign ciphertexts, foreign and forged receipts."""

import json
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from faceseal import translog, wire
from faceseal.client import DpopKey, KeyServer
from faceseal.client.clientkey import own_key
from faceseal.errors import AccessDenied, ServerMisbehaved, TransparencyError
from faceseal.keytransport import creation_info, release_info, seal_key

KEY = UUID("01890000-0000-7000-8000-000000000001")
OTHER = UUID("01890000-0000-7000-8000-000000000002")
GRANT = UUID("01890000-0000-7000-8000-00000000000a")
SECRET = bytes(range(32))
ORIGIN = "keys.example/log"
LOG = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
LOG_KEY = translog.VerifierKey(ORIGIN, LOG.public_key().public_bytes_raw())


def grant_token(grant_id=GRANT, **claims):
    parts = [{"alg": "EdDSA", "typ": "restore-grant+jwt"}, {"jti": str(grant_id), **claims}]
    return ".".join([*(wire.encode_base64url(json.dumps(part).encode()) for part in parts), "c2lnbmF0dXJl"])


def leaf_of(request, **changes):
    entry = {
        "version": 1,
        "index": 1,
        "at": 1_700_000_000,
        "event": "release.allowed",
        "actor": "änna",
        "key": str(KEY),
        "grant": str(GRANT),
        "recipient": json.loads(request.body)["recipient"],
        "uses_left": 0,
    }
    return json.dumps(entry | changes, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def receipt_for(leaf, *, signer=LOG, name=ORIGIN, origin=ORIGIN, size=2, index=1):
    first = translog.leaf_hash(b"first entry")
    root = translog.node_hash(first, translog.leaf_hash(leaf.encode()))
    checkpoint = translog.sign_checkpoint(translog.Checkpoint(origin, size, root), signer, name)
    return wire.Receipt(leaf=leaf, index=index, inclusion_proof=[first], checkpoint=checkpoint)


def released(request, receipt, key_id=KEY, info=None):
    recipient = wire.Release.model_validate_json(request.body).recipient
    info = release_info(KEY, GRANT) if info is None else info
    return wire.Released(key_id=key_id, sealed_key=seal_key(SECRET, recipient, info), receipt=receipt)


@pytest.fixture
def server(peer):
    with KeyServer(peer.url, token="t", log_key=LOG_KEY, timeout=5) as opened:
        yield opened


def test_an_honest_release_gives_the_key_and_keeps_its_receipt(peer, server, http):
    peer.script = lambda request: [http(200, released(request, receipt_for(leaf_of(request))))]
    key = server.release(KEY, grant_token())
    assert (key.key_id, key.secret) == (KEY, SECRET)
    assert server.last_receipt is not None
    assert server.last_receipt.index == 1


def test_an_entry_whose_people_are_sealed_is_a_receipt_too(peer, server, http):
    change = {"version": 2, "actor": str(OTHER), "sealed": "A" * 320}
    peer.script = lambda request: [http(200, released(request, receipt_for(leaf_of(request, **change))))]
    assert server.release(KEY, grant_token()).secret == SECRET


def test_the_log_key_may_be_given_as_text(peer, http):
    peer.script = lambda request: [http(200, released(request, receipt_for(leaf_of(request))))]
    with KeyServer(peer.url, token="t", log_key=str(LOG_KEY)) as server:
        assert server.release(KEY, grant_token()).secret == SECRET
    with pytest.raises(TransparencyError, match="verifier key"):
        KeyServer(peer.url, token="t", log_key="nonsense")


@pytest.mark.parametrize(
    "change",
    [
        {"event": "release.denied"},
        {"event": "key.create.allowed"},
        {"key": str(OTHER)},
        {"grant": str(OTHER)},
        {"recipient": wire.encode_base64url(bytes(32))},
        {"index": 0},
        {"version": 0},
        {"version": 3},
        {"version": True},
        {"version": "2"},
    ],
)
def test_a_receipt_about_anything_else_is_refused_and_kept_as_evidence(peer, server, http, change):
    peer.script = lambda request: [http(200, released(request, receipt_for(leaf_of(request, **change))))]
    with pytest.raises(TransparencyError, match="not about this release"):
        server.release(KEY, grant_token())
    assert server.last_receipt is not None


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda leaf: leaf.replace(",", ", ", 1),
        lambda leaf: leaf.replace('"actor"', '"key":"x","actor"'),
        lambda leaf: "[" + leaf + "]",
        lambda _: "null",
        lambda _: "not json",
    ],
)
def test_an_entry_that_is_not_canonical_json_is_refused(peer, server, http, rewrite):
    peer.script = lambda request: [http(200, released(request, receipt_for(rewrite(leaf_of(request)))))]
    with pytest.raises(TransparencyError, match="not about this release"):
        server.release(KEY, grant_token())


@pytest.mark.parametrize(
    ("forgery", "message"),
    [
        ({"signer": Ed25519PrivateKey.from_private_bytes(bytes(32))}, "not signed by"),
        ({"name": "other.example/log"}, "not signed by"),
        ({"origin": "other.example/log"}, "another log"),
        ({"size": 1}, "cannot be in a log"),
        ({"size": 5}, "too short"),
        ({"index": 0}, "not in the log"),
    ],
)
def test_a_forged_receipt_is_refused(peer, server, http, forgery, message):
    peer.script = lambda request: [http(200, released(request, receipt_for(leaf_of(request), **forgery)))]
    with pytest.raises(TransparencyError, match=message):
        server.release(KEY, grant_token())


def test_a_receipt_cannot_be_used_for_a_second_release(peer, server, http):
    receipts = []

    def replay(request):
        receipts.append(receipt_for(leaf_of(request)))
        yield http(200, released(request, receipts[0]))

    peer.script = replay
    server.release(KEY, grant_token())
    with pytest.raises(TransparencyError, match="not about this release"):
        server.release(KEY, grant_token())


def test_a_log_that_was_rewritten_between_two_releases_is_noticed(peer, server, http):
    # Both logs have two entries; the second one forgot the first release.
    peer.script = lambda request: [http(200, released(request, receipt_for(leaf_of(request))))]
    server.release(KEY, grant_token())
    with pytest.raises(TransparencyError, match="does not continue"):
        server.release(KEY, grant_token())


def test_without_a_log_key_the_receipt_is_kept_but_not_checked(peer, http):
    peer.script = lambda request: [http(200, released(request, receipt_for("{}")))]
    with KeyServer(peer.url, token="t") as server:
        assert server.release(KEY, grant_token()).secret == SECRET
        assert server.last_receipt == receipt_for("{}")


def test_a_release_of_another_key_is_refused(peer, server, http):
    peer.script = lambda request: [http(200, released(request, receipt_for(leaf_of(request)), key_id=OTHER))]
    with pytest.raises(ServerMisbehaved, match="another key"):
        server.release(KEY, grant_token())


@pytest.mark.parametrize("info", [release_info(OTHER, GRANT), release_info(KEY, OTHER), creation_info(KEY), b""])
def test_a_key_sealed_for_another_use_does_not_open(peer, server, http, info):
    peer.script = lambda request: [http(200, released(request, receipt_for(leaf_of(request)), info=info))]
    with pytest.raises(ServerMisbehaved, match="does not open"):
        server.release(KEY, grant_token())


def created(sealed_key):
    key = wire.KeyInfo(
        id=KEY, state=wire.KeyState.ACTIVE, created_at=0, created_by="anna", labels={}, sealed_digest=None
    )
    return wire.KeyCreated(key=key, sealed_key=sealed_key)


def test_a_created_key_must_be_sealed_for_this_request(peer, server, http):
    sealed = []

    def replay(request):
        recipient = wire.CreateKey.model_validate_json(request.body).recipient
        sealed.append(seal_key(SECRET, recipient, creation_info(KEY)))
        yield http(201, created(sealed[0]))

    peer.script = replay
    assert server.create().secret == SECRET
    with pytest.raises(ServerMisbehaved, match="does not open"):
        server.create()


def test_a_created_key_of_another_length_is_refused(peer, server, http):
    def short(request):
        recipient = wire.CreateKey.model_validate_json(request.body).recipient
        answer = json.loads(created(bytes(80)).model_dump_json())
        answer["sealed_key"] = wire.encode_base64url(seal_key(SECRET[:16], recipient, creation_info(KEY)))
        yield http(201, json.dumps(answer).encode())

    peer.script = short
    with pytest.raises(ServerMisbehaved, match="not a KeyCreated"):
        server.create()


def test_without_a_grant_nothing_is_asked_and_the_way_to_one_is_shown(peer, server):
    with pytest.raises(AccessDenied, match=f"faceseal grants request {KEY}"):
        server.release(KEY, None)
    assert peer.requests == []


@pytest.mark.parametrize(
    "text",
    ["", "yes please", "a.b", "a.b.c.d", f"x.{wire.encode_base64url(b'{}')}.y", "x.%%.y", "." * 5000, f"{{{GRANT}}}"],
)
def test_what_is_no_grant_is_refused_before_anything_is_sent(peer, server, text):
    with pytest.raises(AccessDenied, match="not a grant") as caught:
        server.release(KEY, text)
    assert peer.requests == []
    assert len(str(caught.value)) < 200


def grant(token, state=wire.GrantState.APPROVED, grant_id=GRANT, jkt=None):
    return wire.Grant(
        id=grant_id,
        state=state,
        key_ids=[KEY],
        purpose="test",
        requested_by="anna",
        requested_at=0,
        valid_for=60,
        uses_left=1,
        decided_by="ben",
        expires_at=60,
        jkt=jkt or own_key().thumbprint,
        token=token,
    )


def test_a_grant_of_another_client_is_not_used_and_its_key_is_named(peer, server, http):
    other = DpopKey.generate().thumbprint
    peer.script = lambda _: [http(200, grant(grant_token(), jkt=other))]
    with pytest.raises(AccessDenied, match=f"belongs to the client that requested it, with the key {other}"):
        server.release(KEY, str(GRANT))
    assert len(peer.requests) == 1


def test_a_grants_id_is_resolved_to_its_token(peer, server, http):
    def answer(request):
        if request.method == "GET":
            yield http(200, grant(grant_token()))
        else:
            assert json.loads(request.body)["grant"] == grant_token()
            yield http(200, released(request, receipt_for(leaf_of(request))))

    peer.script = answer
    assert server.release(KEY, str(GRANT)).secret == SECRET
    assert [request.path for request in peer.requests] == [f"/v1/grants/{GRANT}", f"/v1/keys/{KEY}/release"]


@pytest.mark.parametrize("token", [grant_token(OTHER), "garbage"])
def test_a_server_that_gives_another_grants_token_misbehaves(peer, server, http, token):
    peer.script = lambda _: [http(200, grant(token))]
    with pytest.raises(ServerMisbehaved, match="no token"):
        server.release(KEY, str(GRANT))


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (wire.GrantState.PENDING, "not approved yet"),
        (wire.GrantState.DENIED, "was denied"),
        (wire.GrantState.REVOKED, "was revoked"),
        (wire.GrantState.EXPIRED, "has expired"),
        (wire.GrantState.EXHAUSTED, "is used up"),
        (wire.GrantState.APPROVED, "belongs to somebody else"),
    ],
)
def test_a_grant_without_a_token_says_what_to_do(peer, server, http, state, words):
    peer.script = lambda _: [http(200, grant(None, state))]
    with pytest.raises(AccessDenied, match=words):
        server.release(KEY, str(GRANT))
