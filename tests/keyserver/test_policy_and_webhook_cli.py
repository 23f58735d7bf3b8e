"""The commands `keyserver policy` and `keyserver webhook`, and roles in tokens."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import update
from webhook_peer import WebhookPeer, running_webhook_peer

from faceseal.wire import RequestGrant, Scope
from keyserver import installation
from keyserver.cli import main
from keyserver.policy import Caller
from keyserver.proof import Proof
from keyserver.service import grants
from keyserver.settings import Settings
from keyserver.store.database import Database
from keyserver.store.tables import DeliveryRow
from keyserver.webhooks.delivery import GIVE_UP_AFTER


@pytest.fixture
def data(sqlite_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("KEYSERVER_DATA", "KEYSERVER_DATABASE_URL", "KEYSERVER_WEBHOOK_NETWORKS"):
        monkeypatch.delenv(name, raising=False)
    return shutil.copytree(sqlite_template, tmp_path / "data")


@pytest.fixture
def peer() -> Iterator[WebhookPeer]:
    with running_webhook_peer() as peer:
        yield peer


@pytest.fixture
def keyserver(data: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*arguments: str, expected: int = 0) -> str:
        assert main([*arguments, "--data", str(data)]) == expected
        output, errors = capsys.readouterr()
        assert (errors == "") == (expected == 0)
        return output if expected == 0 else errors

    return run


def test_a_policy_is_shown_changed_and_set_again(keyserver: Any, tmp_path: Path) -> None:
    shown = json.loads(keyserver("policy", "show", "--tenant", "default"))
    assert (shown["quorum"], shown["break_glass_role"]) == (1, None)
    file = tmp_path / "policy.json"
    file.write_text(json.dumps(shown | {"quorum": 2, "purposes": ["court_order"], "break_glass_role": "emergency"}))
    assert "version 1" in keyserver("policy", "set", str(file), "--tenant", "default")
    shown = json.loads(keyserver("policy", "show", "--tenant", "default"))
    assert (shown["quorum"], shown["purposes"], shown["break_glass_role"]) == (2, ["court_order"], "emergency")
    assert json.loads(keyserver("policy", "show", "--tenant", "other"))["quorum"] == 1
    file.write_text("{}")
    assert "version 2" in keyserver("policy", "set", str(file), "--tenant", "default")
    assert json.loads(keyserver("policy", "show", "--tenant", "default"))["quorum"] == 1


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("", "not strict JSON"),
        ('{"quorum": 1, "quorum": 2}', "not strict JSON"),
        ('{"quorum": 6}', "quorum"),
        ('{"quorum": -1}', "quorum"),
        ('{"quorum": "2"}', "quorum"),
        ('{"Quorum": 2}', "Quorum"),
        ('{"purposes": []}', "purposes"),
        ('{"purposes": ["fun"]}', "purposes.0"),
        ('{"longest_validity": 0}', "longest_validity"),
        ('{"request_roles": ["a b"]}', "request_roles.0"),
        ("[]", "the whole file"),
        ("x" * (1 << 20) + "x", "longer than"),
    ],
    ids=lambda value: value[:24],
)
def test_a_policy_that_is_not_understood_changes_nothing(
    keyserver: Any, tmp_path: Path, document: str, words: str
) -> None:
    file = tmp_path / "policy.json"
    file.write_text(document)
    assert words in keyserver("policy", "set", str(file), "--tenant", "default", expected=2)
    assert json.loads(keyserver("policy", "show", "--tenant", "default"))["quorum"] == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["policy", "show", "--tenant", "nobody"], "no tenant nobody"),
        (["policy", "show"], "--tenant"),
        (["policy", "set", "nowhere.json", "--tenant", "default"], "nowhere.json"),
        (["webhook", "add", "http://example.org/", "--tenant", "default"], "neither https nor on a loopback host"),
        (["webhook", "add", "https://example.org/", "--tenant", "nobody"], "no tenant nobody"),
        (["webhook", "remove", str(uuid4()), "--tenant", "default"], "has no webhook"),
        (["webhook", "test", str(uuid4()), "--tenant", "default"], "has no webhook"),
        (["webhook", "remove", "1", "--tenant", "default"], "UUID"),
        (["token", "--subject", "a", "--scope", "keys:create", "--role", "not a role"], "roles"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(keyserver: Any, arguments: list[str], words: str) -> None:
    errors = keyserver(*arguments, expected=2)
    assert words in errors
    assert errors.count("\n") == 1


def test_a_webhook_is_added_tested_listed_and_removed_and_its_secret_shown_once(
    keyserver: Any, peer: WebhookPeer
) -> None:
    webhook_id, secret = keyserver("webhook", "add", peer.url, "--tenant", "default").split()
    assert secret.startswith("whsec_")
    assert "took the test message" in keyserver("webhook", "test", webhook_id, "--tenant", "default")
    (received,) = peer.received
    assert received.is_signed_with(secret)
    assert (received.message.event.value, received.message.grant) == ("webhook.test", None)
    listed = keyserver("webhook", "list")
    assert webhook_id in listed
    assert peer.url in listed
    assert secret not in listed
    assert keyserver("webhook", "list", "--tenant", "other") == ""
    peer.statuses = [500]
    assert "status 500" in keyserver("webhook", "test", webhook_id, "--tenant", "default", expected=2)
    keyserver("webhook", "remove", webhook_id, "--tenant", "default")
    assert keyserver("webhook", "list") == ""


def test_networks_of_ones_own_are_named_by_a_setting(
    keyserver: Any, peer: WebhookPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYSERVER_WEBHOOK_NETWORKS", '["10.1.0.0/16", "fd00::/8"]')
    assert len(Settings().webhook_networks) == 2
    monkeypatch.setenv("KEYSERVER_WEBHOOK_NETWORKS", '["10.1.0.1/16"]')
    assert "KEYSERVER_WEBHOOK_NETWORKS" in keyserver("webhook", "list", expected=2)


def request_grant(data: Path) -> None:
    ports = installation.open_ports(Settings(data=data))
    proof = Proof("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I", "a-proof-of-alices", int(time.time()))
    caller = Caller("alice", "default", frozenset(Scope), "t", proof=proof)
    grants.request_grant(ports, caller, RequestGrant(labels={"a": "b"}, purpose="x"))
    ports.database.close()


def test_one_round_delivers_what_is_there_and_ends(keyserver: Any, data: Path, peer: WebhookPeer) -> None:
    _, secret = keyserver("webhook", "add", peer.url, "--tenant", "default").split()
    request_grant(data)
    assert keyserver("webhook", "deliver", "--once") == ""
    (received,) = peer.received
    assert received.is_signed_with(secret)


def test_a_worker_delivers_until_it_is_told_to_stop(keyserver: Any, data: Path, peer: WebhookPeer) -> None:
    keyserver("webhook", "add", peer.url, "--tenant", "default")
    command = [sys.executable, "-m", "keyserver", "webhook", "deliver", "--data", str(data)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as worker:
        try:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "keyserver delivers webhooks\n"
            request_grant(data)
            assert peer.arrivals.get(timeout=20).message.event.value == "grant.requested"
            worker.send_signal(signal.SIGTERM)
            _, errors = worker.communicate(timeout=20)
        finally:
            worker.kill()
    assert (worker.returncode, errors) == (0, "")
    assert " 0 waiting, 0 given up" in keyserver("webhook", "list")


def test_a_worker_logs_lines_as_a_server_does_and_no_address(keyserver: Any, data: Path, peer: WebhookPeer) -> None:
    keyserver("webhook", "add", peer.url, "--tenant", "default")
    request_grant(data)
    with Database(Settings(data=data).url).writing() as session:
        session.execute(update(DeliveryRow).values(created_at=DeliveryRow.created_at - GIVE_UP_AFTER))
    peer.statuses = [503]
    command = [sys.executable, "-m", "keyserver", "webhook", "deliver", "--once", "--data", str(data)]
    environment = {**os.environ, "KEYSERVER_LOG_LEVEL": "debug"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=environment)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert ["was given up" in line["message"] for line in lines if line["level"] == "warning"] == [True]
    assert "/hook" not in done.stderr


def test_a_token_carries_the_roles_that_it_was_issued_with(keyserver: Any, data: Path) -> None:
    arguments = ["token", "--subject", "doctor", "--scope", "keys:release"]
    issuer = installation.open_ports(Settings(data=data)).issuer
    token = keyserver(*arguments, "--role", "emergency", "--role", "ward:3").strip()
    assert issuer.verify_access(token, int(time.time())).caller().roles == {"emergency", "ward:3"}
    assert issuer.verify_access(keyserver(*arguments).strip(), int(time.time())).caller().roles == frozenset()
