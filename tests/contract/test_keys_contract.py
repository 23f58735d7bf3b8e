"""The real client against a real key server: batches, states, search and look-up."""

from uuid import uuid4

import numpy as np
import pytest

from faceseal import wire
from faceseal.errors import AccessDenied, RequestRejected, UnknownKey
from faceseal.wire import KeyState, Scope


@pytest.fixture
def camera(client):
    return client(f"camera-{uuid4()}", Scope.KEYS_CREATE)


@pytest.fixture
def admin(client):
    return client("ada", Scope.KEYS_ADMIN)


def released(client, *key_ids):
    rita = client("rita", Scope.GRANTS_REQUEST, Scope.KEYS_RELEASE)
    grant = rita.request_grant(key_ids, "a test", uses=len(key_ids))
    client("ben", Scope.GRANTS_APPROVE).approve_grant(grant.id)
    return [rita.release(key_id, str(grant.id)) for key_id in key_ids]


def test_keys_that_were_created_together_are_the_ones_that_are_released(client, camera):
    keys = camera.create_keys(1203, {"shoot": "42"})
    assert len({key.key_id for key in keys}) == len({key.secret for key in keys}) == 1203
    some = [keys[0], keys[999], keys[1000], keys[1202]]
    assert released(client, *(key.key_id for key in some)) == some
    assert camera.info(keys[1100].key_id).labels == {"shoot": "42"}


def test_each_key_of_a_batch_may_have_labels_of_its_own(camera):
    keys = camera.create_keys(3, [{"frame": str(number)} for number in range(3)])
    for number, key in enumerate(keys):
        assert camera.info(key.key_id).labels == {"frame": str(number)}


@pytest.mark.parametrize(("count", "labels"), [(0, None), (-1, None), (2, [{}]), (1, [{}, {}]), (1, {"": "x"})])
def test_a_batch_that_makes_no_sense_is_not_sent(camera, count, labels):
    with pytest.raises(RequestRejected):
        camera.create_keys(count, labels)


def test_a_key_is_suspended_resumed_scheduled_and_kept(client, camera, admin):
    key = camera.create()
    assert admin.suspend_key(key.key_id).state is KeyState.SUSPENDED
    with pytest.raises(AccessDenied):
        released(client, key.key_id)
    assert admin.resume_key(key.key_id).state is KeyState.ACTIVE
    assert released(client, key.key_id) == [key]
    scheduled = admin.schedule_destruction(key.key_id)
    assert scheduled.state is KeyState.DESTRUCTION_SCHEDULED
    assert scheduled.destruction_due_at >= scheduled.created_at + 7 * 86400
    with pytest.raises(RequestRejected):
        admin.resume_key(key.key_id)
    kept = admin.cancel_destruction(key.key_id)
    assert (kept.state, kept.destruction_due_at) == (KeyState.SUSPENDED, None)
    with pytest.raises(RequestRejected):
        admin.cancel_destruction(key.key_id)


def test_states_are_for_administrators_and_for_keys_that_exist(camera, admin):
    key = camera.create()
    for verb in ("suspend_key", "resume_key", "schedule_destruction", "cancel_destruction"):
        with pytest.raises(AccessDenied):
            getattr(camera, verb)(key.key_id)
        with pytest.raises(UnknownKey):
            getattr(admin, verb)(uuid4())


def test_a_search_goes_through_all_pages_newest_first(camera):
    subject = camera.info(camera.create({"of": "this test"}).key_id).created_by
    keys = [key.key_id for key in camera.create_keys(250, {"of": "this test"})]
    found = [info.id for info in camera.search_keys({"of": "this test"}, created_by=subject)]
    assert len(found) == len(set(found)) == 251
    assert set(keys) < set(found)
    times = [info.created_at for info in camera.search_keys(created_by=subject)]
    assert times == sorted(times, reverse=True)
    assert list(camera.search_keys({"of": "this test"}, created_by=subject, state=KeyState.SUSPENDED)) == []
    assert list(camera.search_keys(created_by=subject, created_before=times[-1])) == []
    assert len(list(camera.search_keys(created_by=subject, created_after=times[-1]))) == 251


def test_a_search_that_the_protocol_does_not_know_is_not_sent(camera):
    for labels, wanted in (({"ä": "b"}, {}), ({}, {"created_after": -1}), ({}, {"made_by": "x"})):
        with pytest.raises(RequestRejected):
            next(camera.search_keys(labels, **wanted))


def test_a_key_is_looked_up_by_its_photo(camera):
    key, digest, look = camera.create(), np.random.default_rng().bytes(32), np.random.default_rng().bytes(8)
    camera.bind(key.key_id, digest, look)
    (exact,) = camera.look_up(sealed_digest=digest)
    assert (exact.key.id, exact.distance, exact.key.sealed_digest) == (key.key_id, 0, digest)
    near = bytes([look[0] ^ 1]) + look[1:7] + bytes([look[7] ^ 0x80])
    assert (key.key_id, 2) in [(match.key.id, match.distance) for match in camera.look_up(perceptual_hash=near)]
    assert camera.look_up(sealed_digest=bytes(32)) == []
    for given in ({}, {"sealed_digest": digest, "perceptual_hash": look}):
        with pytest.raises(RequestRejected):
            camera.look_up(**given)
    assert all(isinstance(match, wire.KeyMatch) for match in camera.look_up(perceptual_hash=look))
