"""What is one tenant's does not exist for another, on whatever route, and however its ids were learned.

The stranger is the worst that there can be: of the same name, with every scope and role, and
with the very client key of the one whose ids are tried.  Each route is asked twice, with ids
of the other tenant and with ids that exist nowhere, and nobody can tell the answers apart.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from starlette.routing import Route

from faceseal.wire import encode_base64url
from keyserver.app import create_api
from keyserver.routes import ROUTERS
from keyserver.service import webhooks
from keyserver.store.tables import Base

DIGEST = encode_base64url(b"d" * 32)
HASH = encode_base64url(b"\x0f" * 8)
RECIPIENT = encode_base64url(X25519PrivateKey.generate().public_key().public_bytes_raw())
WRITTEN_BY_EVERY_REQUEST = {
    *("audit_log", "audit_entries", "audit_nodes", "audit_index", "audit_index_keys", "audit_subjects"),
    *("dpop_proofs", "rate_buckets"),
}
"""The log, and what keeps requests from being repeated or too many."""


@dataclass(frozen=True)
class Ids:
    """What the stranger has heard of."""

    key: UUID
    grant: UUID
    token: str
    """A grant's."""
    digest: str
    hash: str
    label: str
    keys_cursor: str
    grants_cursor: str
    entries_cursor: str
    own_key: UUID | None = None
    own_token: str = ""


@dataclass(frozen=True)
class Attempt:
    """A request that names somebody else's things, and how it ends.

    Action and reason are what the log says of it; and `nowhere`, if it is another reason, of what exists nowhere.
    """

    route: str
    method: str
    path: Callable[[Ids], str]
    status: int
    action: str = ""
    reason: str = ""
    body: Callable[[Ids], object] = lambda _: None
    nowhere: str = ""
    outcome: str = "denied"


def on_key(route: str, action: str, end: str = "", method: str = "POST", **body: object) -> Attempt:
    return Attempt(
        route, method, lambda ids: f"/v1/keys/{ids.key}{end}", 404, action, "key_unknown", lambda _: body or None
    )


def on_grant(route: str, action: str, end: str = "", method: str = "POST") -> Attempt:
    return Attempt(route, method, lambda ids: f"/v1/grants/{ids.grant}{end}", 404, action, "grant_unknown")


def looking(route: str, path: Callable[[Ids], str], status: int = 200) -> Attempt:
    return Attempt(route, "GET", path, status)


def searching(route: str, path: Callable[[Ids], str]) -> Attempt:
    return Attempt(route, "GET", path, 200, "audit.search", outcome="allowed")


def requesting(status: int, reason: str, body: Callable[[Ids], dict[str, object]]) -> Attempt:
    return Attempt(
        "request_grant",
        "POST",
        lambda _: "/v1/grants",
        status,
        "grant.request",
        reason,
        lambda ids: {"purpose": "mine now", **body(ids)},
    )


def releasing(path: Callable[[Ids], str], status: int, reason: str, nowhere: str = "") -> Attempt:
    return Attempt(
        "release_key",
        "POST",
        path,
        status,
        "release",
        reason,
        lambda ids: {"grant": ids.token, "recipient": RECIPIENT},
        nowhere,
    )


ATTEMPTS = [
    on_key("get_key", "key.read", method="GET"),
    on_key("bind_key", "key.bind", "/sealed", "PUT", sealed_digest=DIGEST),
    on_key("revoke_key", "key.revoke", "/revoke"),
    on_key("suspend_key", "key.revoke", "/suspend"),
    on_key("resume_key", "key.resume", "/resume"),
    on_key("schedule_destruction", "key.schedule_destruction", "/schedule-destruction"),
    on_key("cancel_destruction", "key.cancel_destruction", "/cancel-destruction"),
    on_key(
        "break_glass",
        "break_glass",
        "/break-glass",
        recipient=RECIPIENT,
        purpose_code="medical_treatment",
        reference="ward 3",
    ),
    releasing(lambda ids: f"/v1/keys/{ids.key}/release", 404, "key_unknown"),
    releasing(lambda ids: f"/v1/keys/{ids.own_key}/release", 403, "not_grant_requester", "grant_token_refused"),
    Attempt(
        "release_key",
        "POST",
        lambda ids: f"/v1/keys/{ids.key}/release",
        404,
        "release",
        "key_unknown",
        lambda ids: {"grant": ids.own_token, "recipient": RECIPIENT},
    ),
    on_grant("get_grant", "grant.read", method="GET"),
    on_grant("approve_grant", "grant.approve", "/approve"),
    on_grant("deny_grant", "grant.deny", "/deny"),
    on_grant("revoke_grant", "grant.revoke", "/revoke"),
    requesting(404, "key_unknown", lambda ids: {"key_ids": [str(ids.key)]}),
    requesting(404, "key_unknown", lambda ids: {"key_ids": [str(ids.own_key), str(ids.key)]}),
    requesting(409, "labels_fit_no_key", lambda ids: {"labels": {"album": ids.label}}),
    looking("list_keys", lambda ids: f"/v1/keys?label=album:{ids.label}"),
    looking("list_keys", lambda ids: f"/v1/keys?created_by=alice&state=active&label=album:{ids.label}"),
    looking("list_keys", lambda ids: f"/v1/keys?cursor={ids.keys_cursor}", 422),
    looking("look_up_keys", lambda ids: f"/v1/keys/lookup?sealed_digest={ids.digest}"),
    looking("look_up_keys", lambda ids: f"/v1/keys/lookup?perceptual_hash={ids.hash}"),
    looking("list_grants", lambda ids: f"/v1/grants?key_id={ids.key}"),
    looking("list_grants", lambda ids: f"/v1/grants?cursor={ids.grants_cursor}", 422),
    searching("search_audit", lambda ids: f"/v1/audit/entries?key_id={ids.key}"),
    searching("search_audit", lambda ids: f"/v1/audit/entries?grant_id={ids.grant}"),
    looking("search_audit", lambda ids: f"/v1/audit/entries?cursor={ids.entries_cursor}", 422),
    searching("photo_history", lambda ids: f"/v1/audit/photo?key_id={ids.key}"),
    searching("photo_history", lambda ids: f"/v1/audit/photo?sealed_digest={ids.digest}"),
    searching("photo_history", lambda ids: f"/v1/audit/photo?perceptual_hash={ids.hash}"),
]
NAMES_NOTHING = {
    "create_key",
    "create_keys",
    "get_policy",
    "get_checkpoint",
    "get_consistency",
    "health",
    "ready",
    "no_batch",
}
"""Routes in whose requests nothing that is anybody's can be named: no path, no query, and only new things in bodies."""
NUMBERS = {"old_size", "size"}
"""Of entries of the log that all share, which are in every receipt."""
NEW_THINGS = {"recipient", "labels", "keys"}
NOWHERE = Ids(
    key=uuid4(),
    grant=uuid4(),
    token="e30.e30.e30",
    digest=encode_base64url(b"n" * 32),
    hash=encode_base64url(b"\xf0" * 8),
    label="nowhere",
    keys_cursor=encode_base64url(bytes(56)),
    grants_cursor=encode_base64url(bytes(56)),
    entries_cursor=encode_base64url(bytes(56)),
)


@pytest.fixture
def theirs(world: Any, alice: Any, bob: Any) -> Ids:
    """What the first tenant has: bound and other keys, grants pending and in force, a policy, a webhook."""
    world.set_policy(break_glass_role="emergency")
    webhooks.add_webhook(world.ports, "default", "https://hooks.example/default")
    key, _ = alice.create_key(album="summer")
    alice.create_key(album="summer")
    bound = alice.put(f"/v1/keys/{key.id}/sealed", {"sealed_digest": DIGEST, "perceptual_hash": HASH})
    assert bound.status_code == 200
    _, token = world.grant_token(alice, bob, key.id, uses=5)
    pending = alice.request_grant(key.id)["id"]
    return Ids(
        key.id,
        UUID(pending),
        token,
        DIGEST,
        HASH,
        "summer",
        alice.get("/v1/keys?limit=1").json()["next"],
        alice.get("/v1/grants?limit=1").json()["next"],
        alice.get("/v1/audit/entries?limit=1").json()["next"],
    )


@pytest.fixture
def stranger(world: Any, alice: Any) -> Any:
    world.set_policy("other", quorum=0, break_glass_role="emergency")
    webhooks.add_webhook(world.ports, "other", "https://hooks.example/other")
    return world.person("alice", tenant="other", key=alice.key, roles="emergency")


@pytest.fixture
def own(stranger: Any) -> tuple[UUID, str]:
    """A key of the stranger's, and the token of a grant for it."""
    key, _ = stranger.create_key(album="own")
    return key.id, stranger.request_grant(key.id)["token"]


def unlogged(world: Any) -> dict[str, list[Any]]:
    """All rows of all tables but those that every request writes to."""
    tables = [table for table in Base.metadata.sorted_tables if table.name not in WRITTEN_BY_EVERY_REQUEST]
    with world.ports.database.reading() as session:
        return {table.name: sorted(map(repr, session.execute(table.select()))) for table in tables}


def shown(answer: Any) -> tuple[int, bytes, dict[str, str]]:
    """All of an answer but what the request is called in the logs."""
    headers = {name: value for name, value in answer.headers.items() if name != "x-request-id"}
    return answer.status_code, answer.content, headers


def test_every_route_is_tried_with_the_ids_of_another_tenant() -> None:
    app = create_api()
    tried = {attempt.route for attempt in ATTEMPTS}
    served = {route.name for router in ROUTERS for route in router.routes if isinstance(route, Route)}
    assert served == tried | NAMES_NOTHING
    assert tried.isdisjoint(NAMES_NOTHING)
    # And nothing is served but what these routers have.
    assert {route.path for route in app.routes if isinstance(route, Route)} == {"/openapi.json"}
    paths = app.openapi()["paths"].values()
    assert {operation["operationId"] for item in paths for operation in item.values()} <= served


def test_routes_that_are_not_tried_have_no_place_for_an_id() -> None:
    document = create_api().openapi()
    operations = {each["operationId"]: each for item in document["paths"].values() for each in item.values()}
    for name in NAMES_NOTHING & operations.keys():
        # A yes or no is no id.
        parameters = [each for each in operations[name].get("parameters", []) if each["schema"]["type"] != "boolean"]
        assert {each["name"] for each in parameters if each["in"] != "header"} <= NUMBERS
        if "requestBody" in operations[name]:
            schema = operations[name]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
            assert document["components"]["schemas"][schema.rpartition("/")[2]]["properties"].keys() <= NEW_THINGS


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: f"{attempt.route}-{attempt.reason or attempt.status}")
def test_ids_of_another_tenant_are_answered_like_ids_that_exist_nowhere(
    world: Any, theirs: Any, stranger: Any, own: Any, attempt: Any
) -> None:
    before, entries = unlogged(world), len(world.leaves())

    def answered(ids: Ids) -> Any:
        known = replace(ids, own_key=own[0], own_token=own[1])
        path = attempt.path(known)
        headers = stranger.headers(stranger.proof(attempt.method, path.partition("?")[0]))
        return world.client.request(attempt.method, path, headers=headers, json=attempt.body(known))

    foreign, nowhere = answered(theirs), answered(NOWHERE)
    assert foreign.status_code == attempt.status, foreign.text
    assert shown(foreign) == shown(nowhere)
    assert foreign.headers["x-request-id"] != nowhere.headers["x-request-id"]
    assert unlogged(world) == before
    new = world.entries(entries)
    reasons = [attempt.reason, attempt.nowhere or attempt.reason] if attempt.action else []
    expected = [(f"{attempt.action}.{attempt.outcome}", "alice", "other", reason) for reason in reasons]
    said = [(each["event"], each["actor"], each["tenant"], each.get("reason", "").partition(":")[0]) for each in new]
    assert said == expected


def test_lists_of_one_tenant_hold_nothing_of_another(world: Any, theirs: Any, stranger: Any) -> None:
    assert stranger.get("/v1/keys").json() == {"keys": [], "next": None}
    assert stranger.get("/v1/grants").json() == {"grants": [], "next": None}
    assert stranger.get("/v1/grants?requested_by=alice").json() == {"grants": [], "next": None}


def test_a_tenant_reads_its_own_policy_and_breaks_no_glass_by_anothers(world: Any, theirs: Any, alice: Any) -> None:
    stranger = world.person("alice", tenant="other", key=alice.key, roles="emergency")
    assert alice.get("/v1/policy").json()["version"] == 1
    assert stranger.get("/v1/policy").json()["version"] == 0
    key, _ = stranger.create_key()
    emergency = {"recipient": RECIPIENT, "purpose_code": "medical_treatment", "reference": "ward 3"}
    assert stranger.post(f"/v1/keys/{key.id}/break-glass", emergency).status_code == 403
    assert world.last_entry()["reason"] == "break_glass_role_missing"


def test_an_idempotency_key_of_another_tenant_gives_neither_its_answer_nor_its_effect(
    world: Any, theirs: Any, alice: Any, stranger: Any
) -> None:
    def asked(person: Any, path: str, body: object) -> Any:
        headers = {**person.headers(person.proof("POST", path)), "Idempotency-Key": '"one"'}
        return world.client.post(path, headers=headers, json=body)

    body = {"recipient": RECIPIENT, "labels": {}}
    first, second = asked(alice, "/v1/keys", body), asked(stranger, "/v1/keys", body)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json()["key"]["id"] != second.json()["key"]["id"]
    assert [key["id"] for key in stranger.get("/v1/keys").json()["keys"]] == [second.json()["key"]["id"]]


def test_a_release_that_was_given_is_not_given_again_to_another_tenant(
    world: Any, theirs: Any, alice: Any, stranger: Any
) -> None:
    path, body = f"/v1/keys/{theirs.key}/release", {"grant": theirs.token, "recipient": RECIPIENT}

    def asked(person: Any) -> Any:
        headers = {**person.headers(person.proof("POST", path)), "Idempotency-Key": '"one"'}
        return world.client.post(path, headers=headers, json=body)

    assert asked(alice).status_code == 200
    refused = asked(stranger)
    assert refused.status_code == 404
    assert "sealed_key" not in refused.text


def test_what_a_stranger_does_is_told_to_no_webhook_of_another_tenant(
    world: Any, theirs: Any, stranger: Any, own: Any
) -> None:
    deliveries = Base.metadata.tables["webhook_deliveries"]
    with world.ports.database.reading() as session:
        told = {webhook.id: webhook.tenant for webhook in webhooks.list_webhooks(world.ports)}
        rows = [dict(row) for row in session.execute(deliveries.select()).mappings()]
    for row in rows:
        message = json.loads(row["body"])
        assert told[row["webhook_id"]] == message["tenant"]
    assert {told[row["webhook_id"]] for row in rows} == {"default", "other"}
