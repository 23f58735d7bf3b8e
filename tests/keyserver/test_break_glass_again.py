"""Breaking the glass under an Idempotency-Key: asked again, at once twice, by others, and after everything changed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy import select
from starlette.testclient import TestClient

from faceseal.wire import PROBLEM_BASE, encode_base64url
from keyserver import installation
from keyserver.app import create_app
from keyserver.errors import StoreUnavailable
from keyserver.service.release import Releases
from keyserver.settings import Settings
from keyserver.store.tables import GrantRow


def a_recipient() -> str:
    return encode_base64url(X25519PrivateKey.generate().public_key().public_bytes_raw())


def body(**change: object) -> dict[str, object]:
    return {"recipient": a_recipient(), "purpose_code": "medical_treatment", "reference": "ward 3", **change}


def smash(person: Any, key: Any, asked: object, proof: str | None = None, name: str = "k", client: Any = None) -> Any:
    path = f"/v1/keys/{key.id}/break-glass"
    headers = {**person.headers(proof or person.proof("POST", path)), "Idempotency-Key": name}
    return (client or person.client).post(path, headers=headers, json=asked)


def events(world: Any) -> Counter[str]:
    return Counter(json.loads(leaf)["event"] for leaf in world.leaves())


def grants(world: Any) -> list[GrantRow]:
    with world.ports.database.reading() as session:
        return list(session.scalars(select(GrantRow)))


@pytest.fixture
def doctor(world: Any) -> Any:
    for tenant in ("default", "other"):
        world.set_policy(tenant, break_glass_role="emergency")
    return world.person("doctor", "keys:release", roles="emergency")


@pytest.fixture
def key(alice: Any) -> Any:
    return alice.create_key()[0]


@pytest.fixture
def interrupted(world: Any, doctor: Any, key: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, object], str]:
    """Body and proof of a request that was cut off after its grant was made, and before the release."""

    def cut_off(*_: object) -> None:
        raise StoreUnavailable("the database failed")

    asked, proof = body(), doctor.proof("POST", f"/v1/keys/{key.id}/break-glass")
    with monkeypatch.context() as patch:
        patch.setattr(Releases, "release", cut_off)
        assert smash(doctor, key, asked, proof).status_code == 503
    assert events(world)["break_glass.allowed"] == 1
    return asked, proof


def test_asked_again_it_is_the_same_answer_and_nothing_more_happens(world: Any, doctor: Any, key: Any) -> None:
    asked = body()
    answers = [smash(doctor, key, asked) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert len({answer.content for answer in answers}) == 1
    assert (events(world)["break_glass.allowed"], events(world)["release.allowed"], len(grants(world))) == (1, 1, 1)


def test_a_request_that_was_cut_off_is_ended_under_the_grant_that_was_made(
    world: Any, doctor: Any, key: Any, interrupted: Any
) -> None:
    assert smash(doctor, key, interrupted[0]).status_code == 200
    assert (events(world)["break_glass.allowed"], events(world)["release.allowed"], len(grants(world))) == (1, 1, 1)


def test_the_proof_of_a_request_that_was_cut_off_does_not_count_again(
    world: Any, doctor: Any, key: Any, interrupted: Any
) -> None:
    asked, proof = interrupted
    # Nor does it serve a thief who puts an own recipient into what was overheard.
    for again, name in ((asked, "k"), (body(), "another"), (asked, "another")):
        assert smash(doctor, key, again, proof, name).status_code == 403
        assert world.last_entry()["reason"] == "proof_replayed"
    assert smash(doctor, key, body(), proof).status_code == 422
    assert events(world)["release.allowed"] == 0


def test_another_request_does_not_use_the_grant_of_one_that_was_cut_off(
    world: Any, alice: Any, doctor: Any, key: Any, interrupted: Any
) -> None:
    other, _ = alice.create_key()
    for wanted, asked in ((key, {**interrupted[0], "reference": "ward 4"}), (other, interrupted[0])):
        refused = smash(doctor, wanted, asked)
        assert (refused.status_code, refused.json()["type"]) == (422, PROBLEM_BASE + "idempotency-key-reused")
    assert (events(world)["release.allowed"], len(grants(world))) == (0, 1)


def test_a_key_that_was_used_for_something_else_breaks_no_glass(world: Any, alice: Any, doctor: Any, key: Any) -> None:
    both = world.person("doctor", "keys:release keys:create", roles="emergency")
    headers = {**both.headers(None), "Idempotency-Key": "k"}
    assert both.client.post("/v1/keys", headers=headers, json={"recipient": a_recipient()}).status_code == 201
    assert smash(doctor, key, body()).status_code == 422
    assert (events(world)["break_glass.allowed"], grants(world)) == (0, [])


def test_the_same_key_of_another_subject_or_tenant_is_another_request(
    world: Any, doctor: Any, key: Any, interrupted: Any
) -> None:
    nurse = world.person("nurse", "keys:release", roles="emergency")
    assert smash(nurse, key, interrupted[0]).status_code == 200
    stranger = world.person("doctor", "keys:release", "other", roles="emergency")
    assert smash(stranger, key, interrupted[0]).status_code == 404
    porter = world.person("porter", "keys:release")
    assert smash(porter, key, interrupted[0]).status_code == 403
    assert sorted(grant.requested_by for grant in grants(world)) == ["doctor", "nurse"]
    assert sum(grant.uses_left for grant in grants(world)) == 1


def test_what_was_given_is_not_given_again_after_time_revocation_or_scope_have_ended_it(
    world: Any, bob: Any, doctor: Any, key: Any
) -> None:
    asked = body()
    assert smash(doctor, key, asked).status_code == 200
    lesser = world.person("doctor", "grants:request", key=doctor.key, roles="emergency")
    thief = world.person("doctor", "keys:release", roles="emergency")
    refused = [smash(lesser, key, asked), smash(thief, key, asked)]
    assert [json.loads(leaf)["reason"] for leaf in world.leaves()[-2:]] == ["scope_missing", "grant_of_another_key"]
    assert bob.post(f"/v1/keys/{key.id}/suspend").status_code == 200
    refused.append(smash(doctor, key, asked))
    assert world.last_entry()["reason"] == "key_not_active"
    assert bob.post(f"/v1/keys/{key.id}/resume").status_code == 200
    world.clock.now += 300
    refused.append(smash(doctor, key, asked))
    assert world.last_entry()["reason"].startswith("grant_token_refused")
    assert {answer.status_code for answer in refused} == {403}
    assert len({answer.content for answer in refused}) == 1


def test_after_a_day_the_same_key_breaks_the_glass_anew(world: Any, doctor: Any, key: Any) -> None:
    assert smash(doctor, key, body()).status_code == 200
    world.clock.now += 86400
    assert smash(doctor, key, body()).status_code == 200
    assert (events(world)["break_glass.allowed"], events(world)["release.allowed"], len(grants(world))) == (2, 2, 2)


@pytest.fixture
def replica(world: Any, settings: Settings) -> Iterator[Any]:
    """A client of a second server on the same database and keys."""
    ports = installation.open_ports(settings, world.clock)
    with TestClient(create_app(ports, 16 * 1024), raise_server_exceptions=False) as client:
        yield client
    ports.database.close()


def test_many_at_once_on_two_replicas_make_one_grant_and_one_release(
    world: Any, doctor: Any, key: Any, replica: Any
) -> None:
    asked = body()
    for _ in range(3):
        with ThreadPoolExecutor(8) as pool:
            running = [
                pool.submit(smash, doctor, key, asked, client=[None, replica][number % 2]) for number in range(16)
            ]
            answers = [one.result(60) for one in running]
        assert {answer.status_code for answer in answers} <= {200, 409}
        assert len({answer.content for answer in answers if answer.status_code == 200}) <= 1
    assert smash(doctor, key, asked).status_code == 200
    assert (events(world)["break_glass.allowed"], events(world)["release.allowed"], len(grants(world))) == (1, 1, 1)


def test_one_proof_at_once_on_two_replicas_breaks_the_glass_once(
    world: Any, doctor: Any, key: Any, replica: Any
) -> None:
    proof, asked = doctor.proof("POST", f"/v1/keys/{key.id}/break-glass"), body()
    with ThreadPoolExecutor(8) as pool:
        running = [
            pool.submit(smash, doctor, key, asked, proof, f"k{number}", [None, replica][number % 2])
            for number in range(12)
        ]
        answers = [one.result(60) for one in running]
    assert sorted(answer.status_code for answer in answers) == [200] + [403] * 11
    assert (events(world)["break_glass.allowed"], len(grants(world))) == (1, 1)
