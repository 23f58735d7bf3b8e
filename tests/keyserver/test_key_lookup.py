"""Which key is a photo's: by digest, and by perceptual hash without missing any within the stated distance."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_keys import add_keys

from faceseal.wire import encode_base64url
from keyserver.service import keylife
from keyserver.service.lookup import MOST_MATCHES
from keyserver.store import photo_hashes
from keyserver.store.photo_hashes import FARTHEST, bands_of, distance, values_near

HASHES = st.binary(min_size=8, max_size=8)


def flipped(value: bytes, places: Sequence[int]) -> bytes:
    return (int.from_bytes(value) ^ sum(1 << place for place in places)).to_bytes(8)


def bind(person: Any, look: bytes, digest: bytes | None = None) -> str:
    key, _ = person.create_key()
    digest = digest or os.urandom(32)
    body = {"sealed_digest": encode_base64url(digest), "perceptual_hash": encode_base64url(look)}
    answer = person.put(f"/v1/keys/{key.id}/sealed", body)
    assert answer.status_code == 200, answer.text
    return str(key.id)


def look_up(person: Any, look: bytes) -> list[tuple[str, int]]:
    answer = person.get(f"/v1/keys/lookup?perceptual_hash={encode_base64url(look)}")
    assert answer.status_code == 200, answer.text
    return [(match["key"]["id"], match["distance"]) for match in answer.json()["matches"]]


def is_probed(one: bytes, other: bytes) -> bool:
    """Whether the index leads from one hash to the other: some band of it is among the values that are looked up."""
    pairs = zip(bands_of(one), bands_of(other), photo_hashes._RADII, strict=True)
    return any(band in set(values_near(asked, radius)) for asked, band, radius in pairs)


@given(HASHES, st.sets(st.integers(0, 63), max_size=FARTHEST))
def test_no_hash_within_the_distance_is_missed_by_the_index(look: bytes, places: set[int]) -> None:
    assert is_probed(look, flipped(look, sorted(places)))
    assert distance(bands_of(look), bands_of(flipped(look, sorted(places)))) == len(places)


def test_every_way_to_spread_ten_bits_over_the_bands_is_covered() -> None:
    """All there is to prove: the index looks at how many bits differ in each band, and at nothing else."""
    radii = photo_hashes._RADII
    for first in range(FARTHEST + 1):
        for second in range(FARTHEST + 1 - first):
            for third in range(FARTHEST + 1 - first - second):
                spread = (first, second, third, FARTHEST - first - second - third)
                assert any(bits <= radius for bits, radius in zip(spread, radii, strict=True))
    # And one bit more would be missed: the radii are not larger than they must be.
    assert sum(radius + 1 for radius in radii) == FARTHEST + 1


@given(st.integers(0, 2**16 - 1), st.integers(0, 3))
@settings(max_examples=20)
def test_the_values_near_a_band_are_all_within_the_radius_and_each_once(band: int, radius: int) -> None:
    near = list(values_near(band, radius))
    assert len(near) == len(set(near))
    assert set(near) == {value for value in range(1 << 16) if (value ^ band).bit_count() <= radius}


def test_the_database_finds_exactly_those_within_the_distance_nearest_first(world: Any) -> None:
    chance = random.Random(5)
    look = chance.randbytes(8)
    near_ones = [flipped(look, chance.sample(range(64), bits)) for bits in range(15) for _ in range(2)]
    others = [chance.randbytes(8) for _ in range(300)]
    hashes = dict(zip(add_keys(world.ports, len(near_ones) + len(others)), near_ones + others, strict=True))
    with world.ports.database.writing() as session:
        for key_id, value in hashes.items():
            photo_hashes.add_hash(session, key_id, "default", value)
    expected = sorted(
        (distance(bands_of(look), bands_of(value)), key_id)
        for key_id, value in hashes.items()
        if distance(bands_of(look), bands_of(value)) <= FARTHEST
    )
    with world.ports.database.reading() as session:
        assert [
            (near.distance, near.key_id) for near in photo_hashes.nearest(session, "default", look, 100)
        ] == expected
        assert len(photo_hashes.nearest(session, "default", look, 5)) == 5
        assert photo_hashes.nearest(session, "other", look, 100) == []
    assert len(expected) >= 2 * (FARTHEST + 1)


def test_a_key_is_found_by_its_photos_digest_and_by_what_the_photo_looks_like(alice: Any) -> None:
    look, digest = os.urandom(8), os.urandom(32)
    key_id = bind(alice, look, digest)
    (exact,) = alice.get(f"/v1/keys/lookup?sealed_digest={encode_base64url(digest)}").json()["matches"]
    assert exact == {"key": alice.get(f"/v1/keys/{key_id}").json(), "distance": 0}
    assert look_up(alice, flipped(look, range(FARTHEST))) == [(key_id, FARTHEST)]
    assert look_up(alice, flipped(look, range(FARTHEST + 1))) == []
    assert alice.get(f"/v1/keys/lookup?sealed_digest={encode_base64url(bytes(32))}").json() == {"matches": []}


def test_who_binds_another_key_to_the_same_photo_later_does_not_come_first(world: Any, alice: Any) -> None:
    look, digest = os.urandom(8), os.urandom(32)
    first = bind(alice, look, digest)
    world.clock.now += 1
    mallory = world.person("mallory")
    for _ in range(MOST_MATCHES + 3):
        bind(mallory, look, digest)
    found = look_up(alice, look)
    assert (found[0], len(found)) == ((first, 0), MOST_MATCHES)
    exact = alice.get(f"/v1/keys/lookup?sealed_digest={encode_base64url(digest)}").json()["matches"]
    assert (exact[0]["key"]["id"], len(exact)) == (first, MOST_MATCHES)


def test_another_tenant_looks_up_nothing(world: Any, alice: Any) -> None:
    look, digest = os.urandom(8), os.urandom(32)
    bind(alice, look, digest)
    stranger = world.person("alice", tenant="other")
    assert look_up(stranger, look) == []
    assert stranger.get(f"/v1/keys/lookup?sealed_digest={encode_base64url(digest)}").json() == {"matches": []}


def test_a_second_binding_does_not_change_what_the_photo_looks_like(alice: Any) -> None:
    look, digest = os.urandom(8), os.urandom(32)
    key_id = bind(alice, look, digest)
    other = flipped(look, range(40))
    body = {"sealed_digest": encode_base64url(digest), "perceptual_hash": encode_base64url(other)}
    assert alice.put(f"/v1/keys/{key_id}/sealed", body).status_code == 200
    assert look_up(alice, look) == [(key_id, 0)]
    assert look_up(alice, other) == []


def test_the_hash_is_shown_to_nobody_and_not_in_the_log(world: Any, alice: Any) -> None:
    look = os.urandom(8)
    key_id = bind(alice, look)
    shown = alice.get(f"/v1/keys/{key_id}").text + "".join(world.leaves())
    assert encode_base64url(look) not in shown
    assert look.hex() not in shown


@pytest.mark.parametrize("scope", ["keys:create", "keys:release", "keys:admin"])
def test_whoever_may_read_keys_may_look_them_up(world: Any, alice: Any, scope: str) -> None:
    look = os.urandom(8)
    key_id = bind(alice, look)
    assert look_up(world.person("rita", scope), look) == [(key_id, 0)]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "sealed_digest=AAAA",
        "perceptual_hash=AAAAAAAAAA",
        "perceptual_hash=AAAAAAAAAAB",
        f"sealed_digest={'A' * 43}&perceptual_hash=AAAAAAAAAAA",
        "digest=AAAA",
    ],
)
def test_a_look_up_by_nothing_or_by_both_is_refused(alice: Any, query: str) -> None:
    answer = alice.get(f"/v1/keys/lookup?{query}")
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:faceseal:problem:invalid")


def test_a_destroyed_key_is_still_found_so_that_nobody_searches_on(world: Any, alice: Any) -> None:
    look = os.urandom(8)
    key_id = bind(alice, look)
    world.person("root", "keys:admin").post(f"/v1/keys/{key_id}/schedule-destruction")
    world.clock.now += world.ports.destruction_wait
    assert sum(keylife.destroy_due(world.ports)) == 1
    assert look_up(alice, look) == [(key_id, 0)]
