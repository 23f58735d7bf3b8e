"""The command line: in process for mistakes, as a real process for the way from init to a release."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy import text

from faceseal.client.dpop import DpopKey
from faceseal.keytransport import creation_info, open_key, release_info
from faceseal.translog import VerifierKey, open_checkpoint, verify_inclusion
from faceseal.wire import Grant, KeyCreated, Released, encode_base64url
from keyserver.cli import main
from keyserver.settings import Settings
from keyserver.store import schema
from keyserver.store.database import Database

KEYSERVER = [sys.executable, "-m", "keyserver"]


@pytest.fixture
def data(sqlite_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("KEYSERVER_DATA", "KEYSERVER_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    return shutil.copytree(sqlite_template, tmp_path / "data")


def keyserver(*arguments: str | Path) -> str:
    done = subprocess.run([*KEYSERVER, *arguments], capture_output=True, text=True, timeout=30, check=True)
    assert done.stderr == ""
    return done.stdout.strip()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`keyserver serve` on a free port, and its address."""
    keyserver("init", "--data", tmp_path / "data")
    command = [*KEYSERVER, "serve", "--data", tmp_path / "data", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip().rpartition(" ")[2]
    finally:
        process.kill()
        process.communicate()


class Dpop(httpx.Auth):
    """Shows a token that is bound to a key of its own, and learns the nonces that the server asks for."""

    def __init__(self, *arguments: str | Path) -> None:
        self.key, self.nonce = DpopKey.generate(), None
        self.token = keyserver("token", "--jkt", self.key.thumbprint, *arguments)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        for _ in range(2):
            proof = self.key.proof(request.method, str(request.url), self.token, int(time.time()), self.nonce)
            request.headers.update({"Authorization": f"DPoP {self.token}", "DPoP": proof})
            answer = yield request
            self.nonce = answer.headers["dpop-nonce"]
            if answer.status_code != 401:
                return


def test_from_init_to_a_proved_release_and_a_clean_end(
    server: tuple[subprocess.Popen[str], str], tmp_path: Path
) -> None:
    process, address = server
    data = tmp_path / "data"
    assert address.startswith("http://127.0.0.1:")
    verifier_key = VerifierKey.parse(keyserver("audit", "key", "--data", data))

    def client(subject: str, scope: str) -> httpx.Client:
        auth = Dpop("--data", data, "--subject", subject, "--tenant", "default", "--scope", scope)
        return httpx.Client(base_url=address, auth=auth)

    mine = X25519PrivateKey.generate()
    recipient = encode_base64url(mine.public_key().public_bytes_raw())
    with client("alice", "keys:create keys:release grants:request") as alice, client("bob", "grants:approve") as bob:
        created = KeyCreated.model_validate_json(alice.post("/v1/keys", json={"recipient": recipient}).content)
        request = {"key_ids": [str(created.key.id)], "purpose": "court order 17"}
        grant = Grant.model_validate_json(alice.post("/v1/grants", json=request).content)
        assert bob.post(f"/v1/grants/{grant.id}/approve").status_code == 200
        token = alice.get(f"/v1/grants/{grant.id}").json()["token"]
        answer = alice.post(f"/v1/keys/{created.key.id}/release", json={"grant": token, "recipient": recipient})
        released = Released.model_validate_json(answer.content)

    image_key = open_key(created.sealed_key, mine, creation_info(created.key.id))
    assert open_key(released.sealed_key, mine, release_info(created.key.id, grant.id)) == image_key
    receipt = released.receipt
    checkpoint = open_checkpoint(receipt.checkpoint, verifier_key)
    verify_inclusion(receipt.index, checkpoint.size, receipt.leaf.encode(), receipt.inclusion_proof, checkpoint.root)

    keyserver("audit", "export", "--data", data, "--output", tmp_path / "log.jsonl")
    assert "all 6 entries are proved" in keyserver(
        "audit", "verify", tmp_path / "log.jsonl", "--key", str(verifier_key)
    )
    assert receipt.leaf in (tmp_path / "log.jsonl").read_text().splitlines()

    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=15) == 0
    output, errors = process.communicate()
    assert output == ""
    logged = [json.loads(line) for line in errors.splitlines()]
    # Both clients were asked for a nonce once, and came again with it.
    assert Counter(line["logger"] for line in logged) == {
        "keyserver.requests": 7,
        "keyserver.routes.authentication": 2,
    }
    assert token not in errors


def test_a_taken_port_is_one_line(server: tuple[subprocess.Popen[str], str], tmp_path: Path) -> None:
    port = server[1].rpartition(":")[2]
    command = [*KEYSERVER, "serve", "--data", str(tmp_path / "data"), "--port", port]
    second = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (second.returncode, second.stdout, second.stderr.count("\n")) == (2, "", 1)
    assert second.stderr.startswith(f"keyserver: cannot listen on 127.0.0.1 port {port}")


def test_a_server_does_not_start_on_a_schema_that_is_behind(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    schema.downgrade(Database(Settings(data=data).url), "base")
    assert main(["serve", "--data", str(data), "--port", "0"]) == 2
    assert "schema" in capsys.readouterr().err


def test_init_again_prints_the_same_verifier_key(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "key", "--data", str(data)]) == 0
    assert main(["init", "--data", str(data)]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == second


def test_the_data_folder_can_come_from_the_environment(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KEYSERVER_DATA", str(data))
    assert main(["audit", "key"]) == 0
    assert VerifierKey.parse(capsys.readouterr().out).name.startswith("faceseal-keyserver/")


TOKEN = ["token", "--data", "DATA", "--subject", "alice", "--scope", "keys:create"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Missing command"),
        (["dance"], "No such command"),
        (["init", "--data", "DATA", "--tenant", "Not A Name"], "a tenant's name"),
        (["init", "--data", "DATA/root.key"], "cannot use"),
        (["audit", "key", "--data", "nowhere"], "there is no key server"),
        (["serve", "--data", "nowhere"], "there is no key server"),
        (["serve", "--data", "DATA", "--port", "99999"], "cannot listen"),
        (["serve", "--data", "DATA", "--host", "256.1.1.1"], "cannot listen"),
        (["serve", "--data", "DATA", "--port", "x"], "Invalid value"),
        (TOKEN[:-2], "Missing option"),
        ([*TOKEN[:-1], "keys:everything"], "there is a scope that does not exist"),
        ([*TOKEN, "--tenant", "nobody"], "there is no tenant nobody"),
        ([*TOKEN, "--lifetime", "0"], "Invalid value"),
        ([*TOKEN[:-3], "", *TOKEN[-2:]], "a subject has 1 to 200 printable characters"),
        ([*TOKEN, "--jkt", "A" * 42], "a thumbprint of a key is 43 characters"),
        (["audit", "export", "--data", "DATA", "--output", "DATA/root.key"], "cannot create"),
        (["audit", "verify", "nowhere.jsonl", "--key", "KEY"], "No such file"),
        (["audit", "verify", "DATA", "--key", "KEY"], "Is a directory"),
        (["audit", "verify", "DATA/root.key", "--key", "KEY"], "the first line"),
        (["audit", "verify", "DATA/root.key", "--key", "nonsense"], "not a log's verifier key"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    data: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    key = str(VerifierKey("log", b"k" * 32))
    assert main([part.replace("DATA", str(data)).replace("KEY", key) for part in arguments]) == 2
    output, error = capsys.readouterr()
    assert (output, error.count("\n")) == ("", 1)
    assert error.startswith("keyserver: ")
    assert words in error


def test_a_wrong_setting_is_named_but_not_quoted(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KEYSERVER_MAX_BODY_BYTES", "plenty")
    assert main(["audit", "key", "--data", str(data)]) == 2
    assert capsys.readouterr().err == "keyserver: not usable: KEYSERVER_MAX_BODY_BYTES\n"


def test_a_failed_export_leaves_no_file(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database = Database(Settings(data=data).url)
    with database.writing() as session:
        session.execute(text("DROP TABLE audit_entries"))
    database.close()
    assert main(["audit", "export", "--data", str(data), "--output", str(tmp_path / "log.jsonl")]) == 2
    assert "the database failed" in capsys.readouterr().err
    assert not (tmp_path / "log.jsonl").exists()


@pytest.mark.parametrize("command", [[], ["init"], ["serve"], ["token"], ["audit"], ["audit", "verify"]], ids=str)
def test_help_is_there(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--help"]) == 0
    assert "Usage" in capsys.readouterr().out
