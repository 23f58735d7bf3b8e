"""The OpenAPI document: stable names, examples that hold, and errors that look as they are shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from jsonschema_rs import validator_for
from starlette.testclient import TestClient

from faceseal.wire import PROBLEM_BASE, CreateKey, encode_base64url, jsonschema
from keyserver.app import create_api, create_app
from keyserver.limits import Limits
from keyserver.openapi.errors import PROBLEMS
from keyserver.openapi.examples import ANSWERS, REQUESTS
from keyserver.openapi.headers import RESPONSE_HEADERS, headers_of
from keyserver.rates import Kind, Rate
from keyserver.service import keys
from keyserver.service.once import Once

DATABASE_KINDS = ["sqlite"]
"""Nothing here depends on the database."""
OPERATIONS = {
    "approve_grant": "POST /v1/grants/{grant_id}/approve",
    "bind_key": "PUT /v1/keys/{key_id}/sealed",
    "break_glass": "POST /v1/keys/{key_id}/break-glass",
    "cancel_destruction": "POST /v1/keys/{key_id}/cancel-destruction",
    "create_key": "POST /v1/keys",
    "create_keys": "POST /v1/keys/batch",
    "deny_grant": "POST /v1/grants/{grant_id}/deny",
    "get_checkpoint": "GET /v1/audit/checkpoint",
    "get_consistency": "GET /v1/audit/consistency",
    "search_audit": "GET /v1/audit/entries",
    "photo_history": "GET /v1/audit/photo",
    "get_grant": "GET /v1/grants/{grant_id}",
    "get_key": "GET /v1/keys/{key_id}",
    "get_policy": "GET /v1/policy",
    "health": "GET /healthz",
    "list_grants": "GET /v1/grants",
    "list_keys": "GET /v1/keys",
    "look_up_keys": "GET /v1/keys/lookup",
    "ready": "GET /readyz",
    "release_key": "POST /v1/keys/{key_id}/release",
    "request_grant": "POST /v1/grants",
    "resume_key": "POST /v1/keys/{key_id}/resume",
    "revoke_grant": "POST /v1/grants/{grant_id}/revoke",
    "revoke_key": "POST /v1/keys/{key_id}/revoke",
    "schedule_destruction": "POST /v1/keys/{key_id}/schedule-destruction",
    "suspend_key": "POST /v1/keys/{key_id}/suspend",
}
"""Names that generated clients use: none is ever changed."""
DOCUMENT = create_api().openapi()
BY_NAME: dict[str, Any] = {
    operation["operationId"]: operation for item in DOCUMENT["paths"].values() for operation in item.values()
}


def is_valid(schema: dict[str, Any], value: object) -> bool:
    return bool(validator_for({**schema, "components": DOCUMENT["components"]}).is_valid(value))


def examples() -> Iterator[tuple[str, dict[str, Any], object]]:
    """Where an example stands, its schema, and itself."""
    for name, operation in BY_NAME.items():
        for parameter in operation.get("parameters", []):
            if "example" in parameter:
                yield f"{name} {parameter['name']}", parameter["schema"], parameter["example"]
        contents = {"request": operation.get("requestBody", {}), **operation["responses"]}
        for status, holder in contents.items():
            for media in holder.get("content", {}).values():
                for kind, shown in media.get("examples", {}).items():
                    yield f"{name} {status} {kind}", media["schema"], shown["value"]
                if "example" in media:
                    yield f"{name} {status}", media["schema"], media["example"]
    for name, header in DOCUMENT["components"]["headers"].items():
        if "example" in header:
            yield name, header["schema"], header["example"]


def test_operations_keep_their_names() -> None:
    found = {
        operation["operationId"]: f"{method.upper()} {path}"
        for path, item in DOCUMENT["paths"].items()
        for method, operation in item.items()
    }
    assert found == OPERATIONS


def test_every_operation_says_what_it_is_who_may_and_shows_what_goes_in_and_out() -> None:
    for name, operation in BY_NAME.items():
        assert operation["summary"]
        assert operation["description"]
        if "security" not in operation:
            continue
        assert [[*scheme] for scheme in operation["security"]] == [["HTTPBearer"], ["DPoP"]]
        for scope in operation["security"][0]["HTTPBearer"]:
            assert f"`{scope}`" in operation["description"]
        (success,) = [response for status, response in operation["responses"].items() if status < "3"]
        assert "example" in success["content"]["application/json"]
        assert ("requestBody" in operation) == (name in REQUESTS)
        errors = {status: response for status, response in operation["responses"].items() if status >= "4"}
        assert {"401", "403", "429", "500", "503"} <= errors.keys()
        assert all(response["content"]["application/problem+json"]["examples"] for response in errors.values())
        parameters = {parameter["name"] for parameter in operation["parameters"]}
        assert {"DPoP", "X-Request-Id"} <= parameters


@pytest.mark.parametrize(("where", "schema", "example"), [pytest.param(*each, id=each[0]) for each in examples()])
def test_an_example_is_what_its_schema_says(where: str, schema: dict[str, Any], example: object) -> None:
    assert is_valid(schema, example)


@pytest.mark.parametrize("models", [REQUESTS, ANSWERS], ids=["requests", "answers"])
def test_an_example_is_read_by_its_own_model(models: Any) -> None:
    for model in models.values():
        assert type(model).model_validate_json(model.model_dump_json()) == model


def test_links_lead_to_operations_and_to_parameters_that_exist() -> None:
    for operation in BY_NAME.values():
        for response in operation["responses"].values():
            for link in response.get("links", {}).values():
                target = BY_NAME[link["operationId"]]
                known = {parameter["name"] for parameter in target["parameters"]}
                assert link.get("parameters", {}).keys() <= known


def required_headers(response: dict[str, Any]) -> set[str]:
    """Of those that an answer is said to have, the ones that are never missing."""
    components = {name: each["$ref"].rpartition("/")[2] for name, each in response["headers"].items()}
    return {name for name, component in components.items() if RESPONSE_HEADERS[component].get("required")}


def test_each_example_of_a_request_is_taken_and_answered_like_its_example(world: Any, alice: Any, bob: Any) -> None:
    """With ids and tokens of this server in the place of those that are made up."""
    world.set_policy(break_glass_role="emergency")
    nurse = world.person("nurse", roles="emergency")
    bodies = {name: model.model_dump(mode="json") for name, model in REQUESTS.items()}
    created = alice.post("/v1/keys", bodies["create_key"])
    key_id = created.json()["key"]["id"]
    batch = alice.post("/v1/keys/batch", bodies["create_keys"])
    bound = alice.put(f"/v1/keys/{key_id}/sealed", bodies["bind_key"])
    requested = alice.post("/v1/grants", {**bodies["request_grant"], "key_ids": [key_id]})
    grant = f"/v1/grants/{requested.json()['id']}"
    approved = bob.post(f"{grant}/approve")
    shown = alice.get(grant)
    body = {**bodies["release_key"], "grant": shown.json()["token"]}
    answers = {
        "create_key": created,
        "create_keys": batch,
        "bind_key": bound,
        "request_grant": requested,
        "approve_grant": approved,
        "get_grant": shown,
        "release_key": alice.post(f"/v1/keys/{key_id}/release", body),
        "break_glass": nurse.post(f"/v1/keys/{key_id}/break-glass", bodies["break_glass"]),
        "get_key": alice.get(f"/v1/keys/{key_id}"),
        "list_keys": alice.get("/v1/keys?limit=1"),
        "look_up_keys": alice.get(f"/v1/keys/lookup?perceptual_hash={bodies['bind_key']['perceptual_hash']}"),
        "list_grants": alice.get("/v1/grants?state=exhausted"),
        "get_policy": alice.get("/v1/policy"),
        "get_checkpoint": alice.get("/v1/audit/checkpoint"),
        "get_consistency": alice.get("/v1/audit/consistency?old_size=1"),
        "search_audit": alice.get("/v1/audit/entries"),
        "photo_history": alice.get(f"/v1/audit/photo?key_id={key_id}"),
        "suspend_key": alice.post(f"/v1/keys/{key_id}/suspend"),
        "revoke_key": alice.post(f"/v1/keys/{key_id}/revoke"),
        "resume_key": alice.post(f"/v1/keys/{key_id}/resume"),
        "schedule_destruction": alice.post(f"/v1/keys/{key_id}/schedule-destruction"),
        "cancel_destruction": alice.post(f"/v1/keys/{key_id}/cancel-destruction"),
    }
    assert answers.keys() | {"deny_grant", "revoke_grant"} == ANSWERS.keys()
    for name, answer in answers.items():
        (status,) = [each for each in BY_NAME[name]["responses"] if each < "3"]
        assert (name, answer.status_code) == (name, int(status))
        documented = BY_NAME[name]["responses"][status]
        assert is_valid(documented["content"]["application/json"]["schema"], answer.json())
        assert answer.json().keys() == ANSWERS[name].model_dump(mode="json").keys()
        assert all(header in answer.headers for header in required_headers(documented))
        assert "dpop-nonce" in answer.headers


@pytest.fixture
def provoked(world: Any, alice: Any, monkeypatch: pytest.MonkeyPatch) -> dict[tuple[int, str], Any]:
    """An answer of each kind of problem."""
    client, state = world.client, world.client.app.state
    recipient = encode_base64url(X25519PrivateKey.generate().public_key().public_bytes_raw())
    body = {"recipient": recipient}

    def posted(headers: dict[str, str], **more: Any) -> Any:
        proof = alice.headers(alice.proof("POST", "/v1/keys"))
        return client.post("/v1/keys", headers={**proof, **headers}, **more)

    key, _ = alice.create_key()
    grant = alice.request_grant(key.id)["id"]
    found = {
        (400, "invalid"): posted({"Transfer-Encoding": "chunked", "Content-Length": "2"}, content=b"{}"),
        (401, "unauthenticated"): client.get("/v1/keys"),
        (401, "proof-needed"): client.get("/v1/keys", headers=alice.headers("a.b.c")),
        (403, "denied"): world.person("eve", "keys:create").get("/v1/policy"),
        (404, "not-found"): alice.get("/v1/keys/019e3a52-7c41-7b8e-9d2f-5a6b7c8d9e0f"),
        (405, "method-not-allowed"): client.delete("/v1/keys"),
        (409, "conflict"): alice.post(f"/v1/grants/{grant}/revoke"),
        (413, "too-large"): posted({}, json={"recipient": "x" * 100_000}),
        (422, "invalid"): posted({}, json={}),
    }
    assert posted({"Idempotency-Key": '"one"'}, json=body).status_code == 201
    found[422, "idempotency-key-reused"] = posted({"Idempotency-Key": '"one"'}, json={**body, "labels": {"a": "b"}})
    content = CreateKey(recipient=b"\x09" + bytes(31)).model_dump_json().encode()
    with state.running.claimed(Once.of(alice.caller(), "two", "POST", "/v1/keys", content)):
        json_type = {"Content-Type": "application/json"}
        found[409, "in-progress"] = posted({"Idempotency-Key": '"two"', **json_type}, content=content)
    limits = Limits(per_client={Kind.READ: Rate(1)})
    with TestClient(create_app(world.ports, 4096, limits=limits)) as limited:
        for _ in range(30):
            found[429, "too-many-requests"] = limited.get("/v1/keys", headers=alice.headers(None))
    state.admission.stopping = True
    found[503, "unavailable"] = alice.get("/v1/keys")
    state.admission.stopping = False
    _, token = world.grant_token(alice, world.person("bob"), key.id)
    world.ports.trust.doubt("test", "behind")
    found[503, "log-in-doubt"] = alice.release(key.id, token)
    world.ports.trust.settle("test")

    def broken(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(keys, "list_keys", broken)
    found[500, "internal"] = alice.get("/v1/keys")
    return found


def test_every_problem_that_is_documented_happens_and_looks_as_it_is_shown(provoked: Any) -> None:
    assert provoked.keys() == {(problem.status, problem.kind) for problem in PROBLEMS}
    for problem in PROBLEMS:
        answer = provoked[problem.status, problem.kind]
        assert (problem.kind, answer.status_code) == (problem.kind, problem.status)
        assert answer.headers["content-type"] == "application/problem+json"
        assert {**answer.json(), "detail": ""} == {**problem.example(), "detail": ""}
        assert answer.json()["type"] == PROBLEM_BASE + problem.kind
        assert bool(answer.json()["detail"]) == bool(problem.detail)
        assert all(name in answer.headers for name in required_headers({"headers": headers_of(problem.status)}))


def test_allow_names_every_method_of_the_path(world: Any) -> None:
    assert world.client.delete("/v1/keys").headers["allow"] == "GET, POST"
    assert world.client.delete("/v1/keys/lookup").headers["allow"] == "GET"


@pytest.mark.parametrize("text", ["a b", "Müller, 写真 3", "ｆｕｌｌ　ｗｉｄｔｈ"])
def test_visible_text_is_text(text: str) -> None:
    assert is_valid({"type": "string", "pattern": jsonschema.VISIBLE_PATTERN}, text)


@pytest.mark.parametrize("text", ["a\nb", "nul\0", "a\u202eb", "a\u200bb", "\ufeffa", "\U000e0041", "\x85", ""])
def test_invisible_text_is_none(text: str) -> None:
    assert not is_valid({"type": "string", "pattern": jsonschema.VISIBLE_PATTERN}, text)
