"""A whole server with a configured issuer: from its tokens to a release, and what is on record and in the log."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from oidc_peer import SIGNERS, OidcPeer, running_peer
from opened_log import opened_entries
from signed_proofs import fresh_proof, public_jwk
from starlette.testclient import TestClient

from faceseal.wire import PROBLEM_BASE, encode_base64url
from keyserver import installation
from keyserver.app import create_app
from keyserver.cli import main
from keyserver.errors import SetupError
from keyserver.settings import Settings
from keyserver.store import log
from keyserver.tokens.thumbprint import thumbprint

NOW = 1_800_000_000
RECIPIENT = encode_base64url(b"\x09" + bytes(31))
ISSUER = {
    "audience": "faceseal",
    "discovery": "openid",
    "algorithms": ["RS256"],
    "tenant": {"claim": "org"},
    "scopes": {
        "claim": "roles",
        "map": {"sealer": ["keys:create", "keys:release", "grants:request"], "approver": ["grants:approve"]},
    },
    "subject_prefix": "corp:",
}


@dataclass
class Server:
    client: TestClient
    peer: OidcPeer
    ports: Any
    now: int = NOW
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    def token(self, subject: str, role: str, tenant: str = "default", **change: Any) -> str:
        claims = {"iss": self.peer.url, "aud": "faceseal", "sub": subject, "jti": f"{subject}'s token"}
        claims |= {"iat": NOW, "exp": NOW + 7200, "org": tenant, "roles": [role], **change}
        return SIGNERS["RS256"].sign(claims)

    def ask(self, method: str, path: str, token: str, json: object = None, scheme: str = "Bearer") -> Any:
        nonce = self.ports.nonces.fresh_nonce(self.now)
        proof = fresh_proof(self.key, method, f"http://testserver{path}", token, self.now, nonce=nonce)
        headers = {"Authorization": f"{scheme} {token}", "DPoP": proof}
        return self.client.request(method, path, headers=headers, json=json)

    def entries(self) -> list[dict[str, Any]]:
        with self.ports.database.reading() as session:
            return opened_entries(session, self.ports.root, list(log.leaves(session, 1 << 40)))


@pytest.fixture
def peer() -> Iterator[OidcPeer]:
    with running_peer() as peer:
        peer.describe()
        peer.publish(SIGNERS["RS256"].jwk("one"))
        yield peer


@pytest.fixture
def server(settings: Settings, peer: OidcPeer, tmp_path: Path) -> Iterator[Server]:
    path = tmp_path / "issuers.json"
    path.write_text(json.dumps([{**ISSUER, "issuer": peer.url}]))
    path.chmod(0o644)
    running: list[Server] = []
    ports = installation.open_ports(settings.model_copy(update={"issuers": path}), lambda: running[0].now)
    with TestClient(create_app(ports, 16 * 1024), raise_server_exceptions=False) as client:
        running.append(Server(client, peer, ports))
        yield running[0]
    ports.database.close()


def test_people_of_another_issuer_create_request_approve_and_release(server: Server) -> None:
    alice, bob = server.token("alice", "sealer"), server.token("bob", "approver")
    key = server.ask("POST", "/v1/keys", alice, {"recipient": RECIPIENT}).json()
    key_id = key["key"]["id"]
    assert key["key"]["created_by"] == "corp:alice"
    grant = server.ask("POST", "/v1/grants", alice, {"key_ids": [key_id], "purpose": "court order 17"}).json()
    assert server.ask("POST", f"/v1/grants/{grant['id']}/approve", alice).status_code == 403
    assert server.ask("POST", f"/v1/grants/{grant['id']}/approve", bob).status_code == 200
    token = server.ask("GET", f"/v1/grants/{grant['id']}", alice).json()["token"]
    body = {"grant": token, "recipient": RECIPIENT}
    assert server.ask("POST", f"/v1/keys/{key_id}/release", bob, body).status_code == 403
    assert server.ask("POST", f"/v1/keys/{key_id}/release", alice, body).status_code == 200
    last = server.entries()[-1]
    assert (last["event"], last["actor"], last["token"]) == ("release.allowed", "corp:alice", "alice's token")


def test_a_token_that_its_issuer_has_bound_to_a_key_is_taken_with_its_proof_only(server: Server) -> None:
    bound = server.token("alice", "sealer", cnf={"jkt": thumbprint(public_jwk(server.key))})
    assert server.ask("GET", "/v1/keys", bound, scheme="DPoP").status_code == 200
    assert server.ask("GET", "/v1/keys", bound, scheme="Bearer").status_code == 401
    assert server.ask("GET", "/v1/keys", server.token("alice", "sealer"), scheme="DPoP").status_code == 401
    server.key = Ed25519PrivateKey.generate()
    assert server.ask("GET", "/v1/keys", bound, scheme="DPoP").status_code == 401


def test_a_tenant_that_the_token_names_sees_its_own_keys_only(server: Server) -> None:
    recipient = {"recipient": RECIPIENT}
    mine = server.ask("POST", "/v1/keys", server.token("alice", "sealer"), recipient).json()["key"]["id"]
    elsewhere = server.token("alice", "sealer", "other")
    assert server.ask("GET", f"/v1/keys/{mine}", elsewhere).status_code == 404
    assert server.ask("GET", "/v1/keys", elsewhere).json()["keys"] == []


def test_every_refusal_is_one_answer_outside_and_one_word_in_the_log(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    log_of = "keyserver.routes.authentication"
    caplog.set_level(logging.INFO, log_of)
    plain = server.client.get("/v1/keys")
    refused = {
        "audience": server.token("alice", "sealer", aud="another"),
        "expired": server.token("alice", "sealer", exp=NOW - 1),
        "issuer": server.token("alice", "sealer", iss="https://attacker.example"),
        "tenant": server.token("alice", "sealer", "No Tenant"),
        "binding": server.token("alice", "sealer", cnf={"jkt": "A" * 43}),
        "signature": server.token("alice", "sealer")[:-8] + "AAAAAAAA",
        "malformed": "a.b",
    }
    for reason, token in refused.items():
        answer = server.ask("GET", "/v1/keys", token)
        assert (answer.status_code, answer.content) == (401, plain.content)
        assert answer.json()["type"] == PROBLEM_BASE + "unauthenticated"
        said = [record.getMessage() for record in caplog.records if record.name == log_of]
        assert said[-1] == f"access token refused: {reason}"
        assert token not in caplog.text


def test_an_outage_of_the_issuer_stops_nobody_whose_key_is_held(server: Server) -> None:
    token = server.token("alice", "sealer")
    assert server.ask("GET", "/v1/keys", token).status_code == 200
    server.peer.close()
    for passed in (300, 3600, 7199):
        server.now = NOW + passed
        assert server.ask("GET", "/v1/keys", token).status_code == 200
    server.now = NOW + 7200
    assert server.ask("GET", "/v1/keys", token).status_code == 401


def test_the_wiring_refuses_a_file_that_is_wrong_or_takes_the_built_in_issuers_name(
    settings: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "issuers.json"
    with pytest.raises(SetupError, match="cannot read"):
        installation.open_ports(settings.model_copy(update={"issuers": path}))
    path.write_text(json.dumps([{**ISSUER, "issuer": "https://id.example"}]))
    path.chmod(0o644)
    own = settings.model_copy(update={"issuers": path, "issuer": "https://id.example"})
    with pytest.raises(SetupError, match="built-in issuer's name"):
        installation.open_ports(own)


def test_the_setting_comes_from_the_environment(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KEYSERVER_ISSUERS", str(tmp_path / "nowhere.json"))
    monkeypatch.setenv("KEYSERVER_DATABASE_URL", settings.url)
    assert main(["audit", "key", "--data", str(settings.data)]) == 2
    assert "cannot read" in capsys.readouterr().err
