"""What every route does before it does anything: authenticate, bound, parse, and fail alike."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from faceseal.translog import open_checkpoint
from faceseal.wire import PROBLEM_BASE, Problem, Scope
from keyserver.actions import SCOPES, Action
from keyserver.service import keys

DATABASE_KINDS = ["sqlite"]
"""Nothing here depends on the database."""
ROUTES = [
    ("POST", "/v1/keys", Action.CREATE_KEY),
    ("PUT", "/v1/keys/{id}/sealed", Action.BIND_KEY),
    ("GET", "/v1/keys", Action.READ_KEYS),
    ("GET", "/v1/keys/{id}", Action.READ_KEYS),
    ("POST", "/v1/keys/batch", Action.CREATE_KEY),
    ("GET", "/v1/keys/lookup", Action.READ_KEYS),
    ("POST", "/v1/keys/{id}/revoke", Action.REVOKE_KEY),
    ("POST", "/v1/keys/{id}/suspend", Action.REVOKE_KEY),
    ("POST", "/v1/keys/{id}/resume", Action.RESUME_KEY),
    ("POST", "/v1/keys/{id}/schedule-destruction", Action.SCHEDULE_DESTRUCTION),
    ("POST", "/v1/keys/{id}/cancel-destruction", Action.CANCEL_DESTRUCTION),
    ("POST", "/v1/keys/{id}/release", Action.RELEASE),
    ("POST", "/v1/keys/{id}/break-glass", Action.BREAK_GLASS),
    ("POST", "/v1/grants", Action.REQUEST_GRANT),
    ("GET", "/v1/grants", Action.READ_GRANTS),
    ("GET", "/v1/grants/{id}", Action.READ_GRANTS),
    ("POST", "/v1/grants/{id}/approve", Action.APPROVE_GRANT),
    ("POST", "/v1/grants/{id}/deny", Action.DENY_GRANT),
    ("POST", "/v1/grants/{id}/revoke", Action.REVOKE_GRANT),
    ("GET", "/v1/policy", Action.READ_POLICY),
    ("GET", "/v1/audit/checkpoint", Action.READ_AUDIT),
    ("GET", "/v1/audit/consistency?old_size=0", Action.PROVE_LOG),
    ("GET", "/v1/audit/entries", Action.SEARCH_AUDIT),
    ("GET", "/v1/audit/photo", Action.SEARCH_AUDIT),
]
ANY_BASE64 = "CQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
BODIES: dict[str, dict[str, object]] = {
    "/v1/keys/batch": {"recipient": ANY_BASE64, "keys": [{}]},
    Action.CREATE_KEY: {"recipient": ANY_BASE64},
    Action.BIND_KEY: {"sealed_digest": ANY_BASE64},
    Action.RELEASE: {"grant": "x", "recipient": ANY_BASE64},
    Action.BREAK_GLASS: {"recipient": ANY_BASE64, "purpose_code": "medical_treatment", "reference": "ward 3"},
    Action.REQUEST_GRANT: {"key_ids": [str(uuid4())], "purpose": "x"},
}
per_route = pytest.mark.parametrize(("method", "path", "action"), ROUTES, ids=lambda value: str(value))


def test_the_list_of_routes_in_these_tests_is_complete(world: Any) -> None:
    paths = world.client.get("/openapi.json").json()["paths"]
    served = {(method.upper(), path) for path, operations in paths.items() for method in operations}
    tested = {(method, path.partition("?")[0]) for method, path, _ in ROUTES}
    assert {(method, path.replace("key_id", "id").replace("grant_id", "id")) for method, path in served} == tested | {
        ("GET", "/healthz"),
        ("GET", "/readyz"),
    }


@per_route
def test_without_a_token_nothing_is_even_parsed(world: Any, method: str, path: str, action: Action) -> None:
    garbage = {"Content-Type": "application/json"}
    answer = world.client.request(method, path.format(id="not-an-id"), content=b"{broken", headers=garbage)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer, DPoP algs="EdDSA ES256"'
    assert answer.json()["type"] == PROBLEM_BASE + "unauthenticated"


@per_route
def test_a_token_with_every_other_scope_is_denied_on_record(world: Any, method: str, path: str, action: Action) -> None:
    others = " ".join(set(Scope) - SCOPES[action])
    answer = world.person("eve", others).ask(method, path.format(id=uuid4()), BODIES.get(path, BODIES.get(action)))
    assert answer.status_code == 403
    assert answer.json() == {"type": PROBLEM_BASE + "denied", "title": "Not allowed", "status": 403, "detail": ""}
    entry = world.last_entry()
    assert (entry["event"], entry["actor"], entry["reason"]) == (f"{action}.denied", "eve", "scope_missing")


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Authorization", "Bearer ")],
        [("Authorization", "Bearer x.y.z")],
        [("Authorization", "Basic YWxpY2U6eA==")],
        [("Authorization", "Bearer " + "a" * 9000)],
        [("Authorization", "Bearer é.é.é".encode())],
    ],
    ids=["none", "empty", "garbage", "basic", "huge", "not ascii"],
)
def test_what_is_no_token_is_refused_with_one_answer(world: Any, headers: list[tuple[str, str]]) -> None:
    plain = world.client.get("/v1/keys")
    answer = world.client.get("/v1/keys", headers=headers)
    assert (answer.status_code, answer.content) == (401, plain.content)


def test_two_authorization_headers_are_refused(world: Any) -> None:
    good = ("Authorization", f"Bearer {world.person('alice').token}")
    assert world.client.get("/v1/keys", headers=[good]).status_code == 200
    assert world.client.get("/v1/keys", headers=[good, good]).status_code == 401


def test_an_expired_token_is_refused(world: Any) -> None:
    alice = world.person("alice")
    world.clock.now += 30 * 86400
    assert alice.get("/v1/keys").status_code == 401


def test_a_grant_does_not_serve_as_an_access_token(world: Any) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    _, token = world.grant_token(alice, bob, alice.create_key()[0].id)
    answer = world.client.get("/v1/keys", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401


def test_a_body_over_the_limit_is_refused_with_and_without_its_length(world: Any) -> None:
    alice = world.person("alice")
    headers = {"Authorization": f"Bearer {alice.token}", "Content-Type": "application/json"}

    def in_pieces() -> Iterator[bytes]:
        for _ in range(5):
            yield b" " * 4096

    declared = world.client.post("/v1/keys", content=b" " * (16 * 1024 + 1), headers=headers)
    streamed = world.client.post("/v1/keys", content=in_pieces(), headers=headers)
    for answer in (declared, streamed):
        assert (answer.status_code, answer.json()["type"]) == (413, PROBLEM_BASE + "too-large")


@pytest.mark.parametrize("length", ["1e3", "-1", "x", "9" * 5000])
def test_a_strange_content_length_is_refused(world: Any, length: str) -> None:
    headers = {"Content-Length": length, "Authorization": f"Bearer {world.person('alice').token}"}
    assert world.client.get("/v1/keys", headers=headers).status_code == 413


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"{broken",
        b"\xff",
        b"[" * 16000,
        b'{"recipient": %s}' % (b"9" * 5000),
        b'{"recipient": "AAAA"}',
        b'{"recipient": "%s="}' % ANY_BASE64.encode(),
        b'{"recipient": "%s", "labels": {"a": "\\u0000"}}' % ANY_BASE64.encode(),
        b'{"recipient": "%s", "extra": 1}' % ANY_BASE64.encode(),
    ],
    ids=lambda body: str(body[:24]),
)
def test_a_malformed_body_is_a_problem_and_not_a_crash(world: Any, body: bytes) -> None:
    headers = {"Authorization": f"Bearer {world.person('alice').token}", "Content-Type": "application/json"}
    answer = world.client.post("/v1/keys", content=body, headers=headers)
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"
    assert Problem.model_validate_json(answer.content).type == PROBLEM_BASE + "invalid"


@pytest.mark.parametrize(
    "change",
    [
        {"purpose": ""},
        {"purpose": "line\nbreak"},
        {"purpose": "nul\0"},
        {"purpose": "\ud800"},
        {"purpose": "x" * 201},
        {"key_ids": []},
        {"key_ids": "x"},
        {"key_ids": ["{" + "0" * 34 + "}"] * 101},
        {"uses": 0},
        {"uses": 1001},
        {"uses": "1"},
        {"uses": True},
        {"uses": 1.0},
        {"valid_for": 90 * 86400 + 1},
        {"state": "approved"},
        {"labels": {"album": "summer"}},
        {"labels": {"album": 1}},
        {"labels": {"a'b": "x"}},
        {"purpose": None},
        {"purpose_code": "Court_Order"},
        {"purpose_code": None},
        {"reference": ""},
        {"reference": "x" * 201},
        {"not_before": -1},
        {"not_before": "tomorrow"},
        {"not_before": 1 << 39},
        {"quorum": 0},
        {"break_glass": True},
    ],
    ids=str,
)
def test_a_grant_request_is_parsed_strictly(world: Any, change: dict[str, object]) -> None:
    request = {"key_ids": [str(uuid4())], "purpose": "x", **change}
    headers = {"Authorization": f"Bearer {world.person('alice').token}", "Content-Type": "application/json"}
    answer = world.client.post("/v1/grants", content=json.dumps(request), headers=headers)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("key_id", ["1", "x" * 36, "0" * 32, f"{UUID(int=7)}0", "..%2f..", "%00" * 12])
def test_a_malformed_id_is_refused(world: Any, key_id: str) -> None:
    assert world.person("alice").get(f"/v1/keys/{key_id}").status_code in (404, 422)


def test_a_refused_field_is_named_but_never_quoted(world: Any) -> None:
    answer = world.person("alice").post(
        f"/v1/keys/{uuid4()}/release", {"grant": "secret-grant" * 1000, "recipient": "AAAA"}
    )
    assert answer.status_code == 422
    assert "body.grant" in answer.json()["detail"]
    assert "secret-grant" not in answer.text


def test_a_bug_is_answered_without_details(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the inside of the server")

    monkeypatch.setattr(keys, "list_keys", broken)
    answer = world.person("alice").get("/v1/keys")
    assert (answer.status_code, answer.json()["type"]) == (500, PROBLEM_BASE + "internal")
    assert "inside" not in answer.text


def test_unknown_paths_and_methods_are_problems_too(world: Any) -> None:
    for answer, status in ((world.client.get("/nowhere"), 404), (world.client.delete("/healthz"), 405)):
        assert answer.status_code == status
        assert Problem.model_validate_json(answer.content).status == status


def test_no_answer_may_be_cached(world: Any) -> None:
    alice = world.person("alice")
    for answer in (alice.get("/v1/keys"), alice.get("/nowhere"), world.client.get("/v1/keys")):
        assert answer.headers["cache-control"] == "no-store"


def test_health_needs_no_token(world: Any) -> None:
    assert world.client.get("/healthz").status_code == 200


def test_the_checkpoint_is_signed_and_counts_every_entry(world: Any) -> None:
    world.person("alice").create_key()
    note = world.person("watcher", "audit:read").get("/v1/audit/checkpoint").json()["checkpoint"]
    assert open_checkpoint(note, world.ports.signer.verifier_key).size == len(world.leaves())


def test_the_openapi_description_names_scopes_and_problems(world: Any) -> None:
    paths = world.client.get("/openapi.json").json()["paths"]
    release = paths["/v1/keys/{key_id}/release"]["post"]
    assert release["security"] == [{"HTTPBearer": ["keys:release"]}, {"DPoP": ["keys:release"]}]
    assert [parameter["required"] for parameter in release["parameters"] if parameter["name"] == "DPoP"] == [True]
    assert {"200", "401", "403", "404", "422", "503"} <= set(release["responses"])
    assert "application/problem+json" in release["responses"]["403"]["content"]
    assert all(operation["summary"] for operations in paths.values() for operation in operations.values())
