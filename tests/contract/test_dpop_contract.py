"""The real client's proofs at a real key server: whose grants are whose, and what a thief has of them."""

import subprocess
import sys
import time

import httpx
import pytest

from faceseal import wire
from faceseal.cli import app as command_line
from faceseal.cli.console import run
from faceseal.client import DpopKey, KeyServer
from faceseal.client.clientkey import own_key
from faceseal.client.connection import Connection
from faceseal.errors import AccessDenied, ClientKeyError
from faceseal.wire import encode_base64url


@pytest.fixture
def granted(client):
    """A key, and a grant of five uses that rita has for her own key."""
    rita = client("rita")
    key = rita.create()
    grant = rita.request_grant([key.key_id], "a test", uses=5)
    client("ben").approve_grant(grant.id)
    return key, rita.grant(grant.id)


def test_a_grant_is_bound_to_the_key_of_the_client_that_requested_it(client, granted):
    key, grant = granted
    assert grant.jkt == own_key().thumbprint
    assert client("rita").release(key.key_id, grant.token) == key
    assert client("ben").grant(grant.id).jkt == own_key().thumbprint


def test_a_stolen_token_and_grant_are_of_no_use_with_another_key(client, granted):
    key, grant = granted
    thief = client("rita", client_key=DpopKey.generate())
    with pytest.raises(AccessDenied, match="refuses"):
        thief.release(key.key_id, grant.token)
    with pytest.raises(AccessDenied, match=f"belongs to the client that requested it, with the key {grant.jkt}"):
        thief.release(key.key_id, str(grant.id))
    assert client("rita").grant(grant.id).uses_left == 5


def test_a_stolen_bound_token_opens_nothing_without_its_key(running):
    mine = DpopKey.generate()
    token = running.token("rita", jkt=mine.thumbprint)
    with KeyServer(running.url, token=token, client_key=mine) as rita:
        assert rita.info(rita.create().key_id).created_by == "rita"
    with KeyServer(running.url, token=token) as thief, pytest.raises(ClientKeyError, match="bound to another"):
        thief.list_keys()
    for scheme in ("Bearer", "DPoP"):
        answer = httpx.get(f"{running.url}/v1/keys", headers={"authorization": f"{scheme} {token}"})
        assert answer.status_code == 401


def test_a_whole_life_of_a_grant_with_tokens_that_are_bound(running):
    keys = {name: DpopKey.generate() for name in ("rita", "ben")}
    rita, ben = (
        KeyServer(running.url, token=running.token(name, jkt=key.thumbprint), log_key=running.log_key, client_key=key)
        for name, key in keys.items()
    )
    with rita, ben:
        key = rita.create()
        grant = rita.request_grant([key.key_id], "a test")
        ben.approve_grant(grant.id)
        assert rita.release(key.key_id, str(grant.id)) == key


def test_a_recorded_proof_is_of_no_use_again(running, client, granted):
    key, grant = granted
    url, token, mine = f"{running.url}/v1/keys/{key.key_id}/release", running.token("rita"), own_key()
    nonce = httpx.get(running.url, headers={"dpop": "x"}).headers["dpop-nonce"]
    headers = {
        "authorization": f"Bearer {token}",
        "dpop": mine.proof("POST", url, token, int(time.time()), nonce),
    }
    body = {"grant": grant.token, "recipient": encode_base64url(b"\x09" + bytes(31))}
    assert [httpx.post(url, json=body, headers=headers).status_code for _ in range(2)] == [200, 403]
    assert client("rita").grant(grant.id).uses_left == 4


@pytest.mark.parametrize("wrong_by", [-120, 120])
def test_a_client_whose_clock_is_wrong_is_told_to_look_at_it(running, wrong_by):
    connection = Connection(running.url, running.token("rita"), 10, None, own_key, lambda: time.time() + wrong_by)
    connection.prove()
    with pytest.raises(AccessDenied, match="check this machine's clock"):
        connection.get("/v1/keys", wire.KeyPage)
    connection.close()


def test_the_command_line_prints_the_thumbprint_that_a_token_is_then_bound_to(running, monkeypatch, capsys):
    assert run(command_line, ["client-key"]) == 0
    thumbprint = capsys.readouterr().out.strip()
    command = [sys.executable, "-m", "keyserver", "token", "--data", running.data, "--subject", "cli"]
    command += ["--scope", "keys:create", "--jkt", thumbprint]
    token = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    monkeypatch.setenv("FACESEAL_TOKEN", token)
    assert run(command_line, ["keys", "list", "--server", running.url]) == 0
    monkeypatch.setenv("FACESEAL_HOME", str(running.data.parent / "somebody else"))
    assert run(command_line, ["keys", "list", "--server", running.url]) == 2
    assert "bound to another client's key" in capsys.readouterr().err
