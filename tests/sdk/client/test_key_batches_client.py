"""What the client makes of batches, searches and look-ups that a server answers wrongly."""

from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from faceseal import wire
from faceseal.client import KeyServer, LocalKeyring
from faceseal.errors import KeyringError, ServerMisbehaved
from faceseal.keytransport import batch_info, seal_keys

IDS = [UUID(int=number) for number in range(1, 4)]
SECRETS = [bytes([number]) * 32 for number in range(1, 4)]


@pytest.fixture
def server(peer):
    with KeyServer(peer.url, token="a-token", timeout=5) as opened:
        yield opened


def answering(http, **changes):
    """A script that answers rightly but for the changes."""

    def script(request):
        recipient = wire.CreateKeys.model_validate_json(request.body).recipient
        right = {"ids": IDS, "bound": IDS, "secrets": SECRETS, "to": recipient, "for": recipient, "times": 1} | changes
        sealed = seal_keys(right["secrets"], right["to"], batch_info(right["bound"]))
        part = wire.SealedKeys(recipient=right["for"], sealed_keys=sealed)
        return [http(201, wire.KeysCreated(created_at=1, key_ids=right["ids"], sealed=[part] * right["times"]))]

    return script


def test_a_right_answer_gives_the_keys_in_order(peer, server, http):
    peer.script = answering(http)
    keys = server.create_keys(3, {"a": "b"})
    assert [(key.key_id, key.secret) for key in keys] == list(zip(IDS, SECRETS, strict=True))
    [request] = peer.requests
    sent = wire.CreateKeys.model_validate_json(request.body)
    assert [key.labels for key in sent.keys] == [{"a": "b"}] * 3
    assert all(key.recipient is None for key in sent.keys)


STRANGER = X25519PrivateKey.generate().public_key().public_bytes_raw()


@pytest.mark.parametrize(
    "changes",
    [
        {"ids": IDS[:2]},
        {"ids": [*IDS, uuid4()]},
        {"ids": [IDS[0], IDS[0], IDS[2]]},
        {"ids": IDS[::-1]},
        {"bound": IDS[::-1]},
        {"secrets": SECRETS[:2]},
        {"secrets": [*SECRETS, bytes(32)]},
        {"to": STRANGER},
        {"for": STRANGER},
        {"times": 2},
    ],
    ids=lambda changes: "+".join(changes),
)
def test_an_answer_with_anything_else_than_asked_for_is_not_used(peer, server, http, changes):
    peer.script = answering(http, **changes)
    with pytest.raises(ServerMisbehaved):
        server.create_keys(3)
    assert len(peer.requests) == 1


def test_a_search_that_goes_in_a_circle_ends(peer, server, http):
    peer.script = lambda _: [http(200, wire.KeyPage(keys=[], next="again"))]
    with pytest.raises(ServerMisbehaved, match="circle"):
        list(server.search_keys({"a:b": "c d"}))
    assert len(peer.requests) == 2
    assert peer.requests[0].path == "/v1/keys?label=a%5C%3Ab%3Ac+d&limit=100"
    assert peer.requests[1].path.endswith("&cursor=again&limit=100")


def test_more_matches_than_the_protocol_allows_are_not_read(peer, server, http):
    info = wire.KeyInfo(
        id=IDS[0], state=wire.KeyState.ACTIVE, created_at=1, created_by="a", labels={}, sealed_digest=None
    )
    match = wire.KeyMatch(key=info, distance=3)
    body = b'{"matches":[%s]}' % b",".join([match.model_dump_json().encode()] * 33)
    peer.script = lambda _: [http(200, body)]
    with pytest.raises(ServerMisbehaved):
        server.look_up(perceptual_hash=bytes(8))


def test_a_keyring_makes_many_keys_in_one_go_or_none(tmp_path, monkeypatch):
    keyring = LocalKeyring(tmp_path / "keys.json", "correct horse")
    first, keys = keyring.create(), keyring.create_keys(30)
    assert len({key.secret for key in keys}) == 30
    assert [entry.id for entry in keyring.list_keys()] == [first.key_id, *(key.key_id for key in keys)]
    assert keyring.release(keys[17].key_id) == keys[17]
    monkeypatch.setattr("faceseal.client.keyring.MAX_KEYS", 40)
    with pytest.raises(KeyringError, match="31 keys"):
        keyring.create_keys(10)
    with pytest.raises(KeyringError, match="at least one"):
        keyring.create_keys(0)
    assert len(keyring.list_keys()) == 31
    keyring.bind(keys[0].key_id, bytes(32), bytes(8))
