"""The real client against a real key server: the whole life of a key and its grants."""

import time
from uuid import uuid4

import pytest

from faceseal import translog, wire
from faceseal.client import KeyServer
from faceseal.client.receipt import receipt_matches
from faceseal.errors import AccessDenied, RequestRejected, TransparencyError, UnknownKey
from faceseal.wire import Scope

SEALER = (Scope.KEYS_CREATE,)
RESTORER = (Scope.GRANTS_REQUEST, Scope.KEYS_RELEASE)
APPROVER = (Scope.GRANTS_APPROVE,)
ADMIN = (Scope.KEYS_ADMIN,)


@pytest.fixture
def people(client):
    class People:
        sealer = client("camera", *SEALER)
        restorer = client("rita", *RESTORER)
        other_restorer = client("oscar", *RESTORER)
        approver = client("ben", *APPROVER)
        admin = client("ada", *ADMIN)

    return People


@pytest.fixture
def key(people):
    return people.sealer.create({"album": "contract"})


@pytest.fixture
def approved(people, key):
    """An approved grant for one use of `key`, as its requester sees it."""
    grant = people.restorer.request_grant([key.key_id], "a test")
    people.approver.approve_grant(grant.id)
    return people.restorer.grant(grant.id)


def test_a_created_key_is_bound_listed_and_comes_back_under_an_approved_grant(people, key):
    people.sealer.bind(key.key_id, bytes([3]) * 32)
    info = people.sealer.info(key.key_id)
    assert (info.state, info.created_by, info.labels) == (wire.KeyState.ACTIVE, "camera", {"album": "contract"})
    assert info.sealed_digest == bytes([3]) * 32
    assert key.key_id in [listed.id for listed in people.sealer.list_keys()]

    grant = people.restorer.request_grant([key.key_id], "a test", uses=2, valid_for=60)
    assert (grant.state, grant.token, grant.expires_at) == (wire.GrantState.PENDING, None, None)
    assert people.approver.approve_grant(grant.id).decided_by == "ben"
    grant = people.restorer.grant(grant.id)
    assert grant.state is wire.GrantState.APPROVED
    assert people.restorer.release(key.key_id, grant.token) == key
    assert people.restorer.release(key.key_id, str(grant.id)) == key
    assert people.restorer.grant(grant.id).state is wire.GrantState.EXHAUSTED


def test_the_receipt_verifies_and_names_this_very_release(people, key, approved, running):
    people.restorer.release(key.key_id, approved.token)
    receipt = people.restorer.last_receipt
    checkpoint = translog.open_checkpoint(receipt.checkpoint, translog.VerifierKey.parse(running.log_key))
    translog.verify_inclusion(
        receipt.index, checkpoint.size, receipt.leaf.encode(), receipt.inclusion_proof, checkpoint.root
    )
    assert not receipt_matches(receipt.leaf.encode(), receipt.index, key.key_id, approved.id, bytes(32))
    for secret in (wire.encode_base64url(key.secret), key.secret.hex(), approved.token):
        assert secret not in receipt.leaf


def test_a_client_that_trusts_another_logs_key_does_not_use_the_released_key(people, key, approved, running):
    stranger = translog.VerifierKey(translog.VerifierKey.parse(running.log_key).name, bytes(32))
    with (
        KeyServer(running.url, token=running.token("rita", *RESTORER), log_key=stranger) as distrustful,
        pytest.raises(TransparencyError, match="not signed by"),
    ):
        distrustful.release(key.key_id, approved.token)


def test_releases_one_after_the_other_are_proved_by_a_growing_log(people, key):
    grant = people.restorer.request_grant([key.key_id], "a test", uses=3)
    people.approver.approve_grant(grant.id)
    indices = []
    for _ in range(3):
        people.restorer.release(key.key_id, str(grant.id))
        indices.append(people.restorer.last_receipt.index)
    assert indices == sorted(set(indices))


def test_no_key_leaves_without_a_grant(people, key):
    with pytest.raises(AccessDenied, match="needs a grant"):
        people.restorer.release(key.key_id, None)


def test_a_pending_grant_releases_nothing(people, key):
    grant = people.restorer.request_grant([key.key_id], "a test")
    with pytest.raises(AccessDenied, match="not approved yet"):
        people.restorer.release(key.key_id, str(grant.id))


def test_a_denied_grant_releases_nothing(people, key):
    grant = people.restorer.request_grant([key.key_id], "a test")
    assert people.approver.deny_grant(grant.id).state is wire.GrantState.DENIED
    with pytest.raises(AccessDenied, match="was denied"):
        people.restorer.release(key.key_id, str(grant.id))
    with pytest.raises((RequestRejected, AccessDenied)):
        people.approver.approve_grant(grant.id)


def test_a_used_up_grant_releases_nothing_more(people, key, approved):
    assert people.restorer.release(key.key_id, approved.token) == key
    with pytest.raises(AccessDenied):
        people.restorer.release(key.key_id, approved.token)
    with pytest.raises(AccessDenied, match="used up"):
        people.restorer.release(key.key_id, str(approved.id))


def test_an_expired_grant_releases_nothing(people, key):
    grant = people.restorer.request_grant([key.key_id], "a test", uses=5, valid_for=1)
    people.approver.approve_grant(grant.id)
    token = people.restorer.grant(grant.id).token
    time.sleep(2.1)
    if token is not None:
        with pytest.raises(AccessDenied):
            people.restorer.release(key.key_id, token)
    with pytest.raises(AccessDenied, match="has expired"):
        people.restorer.release(key.key_id, str(grant.id))


def test_a_revoked_grant_releases_nothing(people, key, approved):
    people.approver.revoke_grant(approved.id)
    with pytest.raises(AccessDenied):
        people.restorer.release(key.key_id, approved.token)
    with pytest.raises(AccessDenied, match="was revoked"):
        people.restorer.release(key.key_id, str(approved.id))


def test_a_revoked_key_is_not_released(people, key, approved):
    assert people.admin.revoke_key(key.key_id).state is wire.KeyState.SUSPENDED
    with pytest.raises(AccessDenied):
        people.restorer.release(key.key_id, approved.token)


def test_a_grant_is_of_no_use_to_anybody_but_its_requester(people, key, approved):
    with pytest.raises(AccessDenied):
        people.other_restorer.release(key.key_id, approved.token)
    with pytest.raises(UnknownKey):
        people.other_restorer.release(key.key_id, str(approved.id))
    assert people.approver.grant(approved.id).token is None


def test_a_grant_releases_no_key_but_its_own(people, approved):
    another = people.sealer.create()
    with pytest.raises(AccessDenied):
        people.restorer.release(another.key_id, approved.token)


def test_nobody_approves_a_grant_of_their_own(client, key):
    both = client("rita", *RESTORER, *APPROVER)
    grant = both.request_grant([key.key_id], "a test")
    with pytest.raises(AccessDenied):
        both.approve_grant(grant.id)


def test_a_key_is_bound_to_one_photo_only(people, key):
    people.sealer.bind(key.key_id, bytes([1]) * 32)
    people.sealer.bind(key.key_id, bytes([1]) * 32)
    with pytest.raises(RequestRejected):
        people.sealer.bind(key.key_id, bytes([2]) * 32)


def test_what_does_not_exist_is_unknown(people):
    nobody = uuid4()
    for ask in (
        lambda: people.sealer.info(nobody),
        lambda: people.sealer.bind(nobody, bytes(32)),
        lambda: people.admin.revoke_key(nobody),
        lambda: people.restorer.request_grant([nobody], "a test"),
        lambda: people.restorer.grant(nobody),
        lambda: people.approver.approve_grant(nobody),
    ):
        with pytest.raises(UnknownKey):
            ask()


def test_a_grant_that_names_a_key_twice_is_rejected_with_the_servers_reason(people, key):
    with pytest.raises(RequestRejected, match="twice"):
        people.restorer.request_grant([key.key_id, key.key_id], "a test")


def test_a_scope_that_is_missing_is_a_denial(people, key, approved):
    for ask in (
        people.restorer.create,
        people.approver.list_keys,
        people.sealer.list_grants,
        lambda: people.sealer.revoke_key(key.key_id),
        lambda: people.sealer.approve_grant(approved.id),
        lambda: people.sealer.release(key.key_id, approved.token),
        lambda: people.sealer.request_grant([key.key_id], "a test"),
    ):
        with pytest.raises(AccessDenied, match="refuses"):
            ask()


def test_an_approver_lists_the_requests_of_others_and_a_requester_only_the_own(people, key, approved):
    assert approved.id in [grant.id for grant in people.approver.list_grants()]
    assert approved.id in [grant.id for grant in people.restorer.list_grants()]
    assert approved.id not in [grant.id for grant in people.other_restorer.list_grants()]
