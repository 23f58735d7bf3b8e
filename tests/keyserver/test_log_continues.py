"""What the server proves of its log to clients that have seen it before."""

from __future__ import annotations

import json
import threading
from typing import Any
from uuid import UUID

import pytest

from faceseal.errors import TransparencyError
from faceseal.translog import Checkpoint, open_checkpoint, verify_consistency
from faceseal.wire import Consistency, Receipt, Release
from keyserver import audit


def checkpoint_of(world: Any, receipt: dict[str, Any]) -> Checkpoint:
    return open_checkpoint(receipt["checkpoint"], world.ports.signer.verifier_key)


def known_at(world: Any, size: int) -> Checkpoint:
    with world.ports.database.reading() as session:
        return Checkpoint(world.ports.signer.verifier_key.name, size, audit.root_of(session, size))


def released(granted: Any, **more: object) -> Any:
    return granted.requester.post(granted.path, {**granted.body(), **more})


def test_a_receipt_proves_that_its_log_continues_each_size_that_a_client_has_seen(world: Any, granted: Any) -> None:
    size = len(world.leaves())
    for known in range(size - 4, size + 1):
        receipt = Receipt.model_validate_json(_json(released(granted, known_size=known)))
        now, then = checkpoint_of(world, receipt.model_dump()), known_at(world, known)
        assert receipt.consistency_proof is not None
        verify_consistency(then.size, now.size, receipt.consistency_proof, then.root, now.root)
        with pytest.raises(TransparencyError):
            verify_consistency(then.size, now.size, receipt.consistency_proof, bytes(32), now.root)


def test_a_client_that_does_not_ask_gets_the_answer_that_it_knows(granted: Any) -> None:
    receipt = released(granted).json()["receipt"]
    assert set(receipt) == {"leaf", "index", "inclusion_proof", "checkpoint"}


def test_a_client_that_has_seen_a_longer_log_gets_no_proof(world: Any, granted: Any) -> None:
    for known in (len(world.leaves()) + 2, 1 << 53):
        assert "consistency_proof" not in released(granted, known_size=known).json()["receipt"]


@pytest.mark.parametrize("known", [-1, (1 << 53) + 1, "0", 1.5, True])
def test_what_is_no_size_is_refused_without_using_the_grant(granted: Any, known: object) -> None:
    left = granted.uses_left()
    assert released(granted, known_size=known).status_code == 422
    assert granted.uses_left() == left


def test_breaking_the_glass_proves_it_as_well(world: Any) -> None:
    world.set_policy(break_glass_role="emergency")
    doctor = world.person("doctor", roles="emergency")
    key, _ = doctor.create_key()
    body = {"recipient": "CQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "purpose_code": "medical_treatment"}
    answer = doctor.post(f"/v1/keys/{key.id}/break-glass", {**body, "reference": "ward 3", "known_size": 2})
    receipt = answer.json()["released"]["receipt"]
    now, then = checkpoint_of(world, receipt), known_at(world, 2)
    proof = Receipt.model_validate_json(json.dumps(receipt)).consistency_proof
    assert proof is not None
    verify_consistency(2, now.size, proof, then.root, now.root)


def test_a_release_that_is_given_again_is_proved_from_what_was_seen_before_it(world: Any, granted: Any) -> None:
    size = len(world.leaves())
    headers = {**granted.requester.headers(granted.requester.proof("POST", granted.path)), "Idempotency-Key": '"a"'}
    body = {**granted.body(), "known_size": size}
    first = granted.requester.client.post(granted.path, headers=headers, json=body).json()["receipt"]
    world.person("carol").create_key()
    headers["DPoP"] = granted.requester.proof("POST", granted.path)
    again = granted.requester.client.post(granted.path, headers=headers, json=body).json()["receipt"]
    assert (again["consistency_proof"], again["checkpoint"]) == (first["consistency_proof"], first["checkpoint"])


def test_releases_that_share_a_transaction_are_each_proved_from_their_own_size(world: Any, granted: Any) -> None:
    sizes, receipts = [0, 1, 2, 3, len(world.leaves())], {}
    releases = world.client.app.state.releases
    key_id = granted.path.split("/")[3]

    def one(known: int) -> None:
        request = Release.model_validate_json(json.dumps({**granted.body(), "known_size": known}))
        receipts[known] = releases.release(granted.requester.caller(), UUID(key_id), request).receipt

    threads = [threading.Thread(target=one, args=(known,)) for known in sizes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for known in sizes:
        now, then = checkpoint_of(world, receipts[known].model_dump()), known_at(world, known)
        verify_consistency(known, now.size, receipts[known].consistency_proof, then.root, now.root)


def test_the_log_is_proved_to_auditors_and_to_those_who_get_receipts(world: Any, granted: Any) -> None:
    size = len(world.leaves())
    for scope in ("audit:read", "keys:release"):
        person = world.person("watcher", scope)
        for old in (0, 1, size - 1, size):
            answer = person.get(f"/v1/audit/consistency?old_size={old}&size={size}")
            found = Consistency.model_validate_json(answer.content)
            verify_consistency(old, size, found.proof, known_at(world, old).root, known_at(world, size).root)
        assert person.get("/v1/audit/consistency?old_size=1").json()["size"] == size
    assert world.person("eve", "keys:create grants:request").get("/v1/audit/consistency?old_size=1").status_code == 403


@pytest.mark.parametrize(
    "query", ["old_size=3&size=2", "old_size=1&size=999", "old_size=999", "", "old_size=-1", "old_size=x"]
)
def test_what_cannot_be_proved_is_refused(world: Any, alice: Any, query: str) -> None:
    alice.create_key()
    assert alice.get(f"/v1/audit/consistency?{query}").status_code == 422


def _json(answer: Any) -> str:
    return json.dumps(answer.json()["receipt"])
