"""Rotating the built-in issuer's key: what was signed keeps counting, also in a server that runs."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
import pytest

from faceseal.wire import Scope, encode_base64url
from keyserver import installation
from keyserver.cli import main
from keyserver.errors import SetupError
from keyserver.settings import Settings
from keyserver.tokens import BuiltinIssuer, TokenRefused
from keyserver.tokens.claims import MAX_LIFETIME
from keyserver.tokens.keyfiles import KeyFiles, read_keys, rotate_keys

DATABASE_KINDS = ["sqlite"]
NOW = 1_800_000_000
NAME = "faceseal-keyserver"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "issuer.key"
    path.touch(mode=0o600)
    path.write_bytes(b"a" * 32)
    return path


def issuer_of(path: Path) -> BuiltinIssuer:
    return BuiltinIssuer(KeyFiles(path), NAME, NAME)


def token_of(issuer: BuiltinIssuer, now: int = NOW, lifetime: int = MAX_LIFETIME) -> str:
    return issuer.issue_access("alice", "default", frozenset(Scope), uuid4(), now, lifetime)


def why(issuer: BuiltinIssuer, token: str, now: int) -> str:
    with pytest.raises(TokenRefused) as refusal:
        issuer.verify_access(token, now)
    return refusal.value.why.value


def without_kid(path: Path, claims: dict[str, Any]) -> str:
    """As it was signed before keys had names."""
    private = read_keys(path).private
    text = ".".join(encode_base64url(json.dumps(part).encode()) for part in ({"alg": "EdDSA", "typ": "at+jwt"}, claims))
    return f"{text}.{encode_base64url(private.sign(text.encode()))}"


def test_what_the_old_key_signed_counts_to_its_end_and_not_longer(path: Path) -> None:
    issuer = issuer_of(path)
    old = token_of(issuer)
    grant = issuer.issue_grant(uuid4(), "alice", "default", NOW, NOW + MAX_LIFETIME)
    rotate_keys(path, NOW, b"b" * 32)
    new = token_of(issuer)
    assert jwt.get_unverified_header(old)["kid"] != jwt.get_unverified_header(new)["kid"]
    for token in (old, new):
        assert issuer.verify_access(token, NOW + MAX_LIFETIME - 1).sub == "alice"
    assert issuer.verify_grant(grant, NOW + MAX_LIFETIME - 1).sub == "alice"
    assert why(issuer, old, NOW + MAX_LIFETIME) == "key"
    assert why(issuer, new, NOW + MAX_LIFETIME) == "expired"


def test_a_server_that_runs_and_a_command_beside_it_agree_after_a_rotation(path: Path) -> None:
    running, beside = issuer_of(path), issuer_of(path)
    before = token_of(running)
    kid = rotate_keys(path, NOW, b"b" * 32).kid
    assert jwt.get_unverified_header(token_of(running))["kid"] == kid
    for token in (before, token_of(beside), token_of(issuer_of(path))):
        assert running.verify_access(token, NOW).sub == "alice"


def test_tokens_from_before_keys_had_names_count_through_rotations(path: Path) -> None:
    claims = jwt.decode(token_of(issuer_of(path), lifetime=60), options={"verify_signature": False})
    unnamed = without_kid(path, claims)
    issuer = issuer_of(path)
    for moment in range(3):
        assert issuer.verify_access(unnamed, NOW + moment).sub == "alice"
        rotate_keys(path, NOW + moment, os.urandom(32))
    # A new key's tokens have a name; one without is not looked for among all keys.
    assert why(issuer, without_kid(path, claims), NOW) == "signature"


def test_deleting_an_old_keys_file_ends_what_it_signed_at_once(path: Path) -> None:
    issuer = issuer_of(path)
    old = token_of(issuer)
    rotate_keys(path, NOW, b"b" * 32)
    issuer.verify_access(old, NOW)
    path.with_name(f"issuer.{NOW}.key").unlink()
    assert why(issuer, old, NOW) == "key"


def test_files_of_keys_whose_tokens_are_over_are_deleted_by_the_next_rotation(path: Path) -> None:
    rotate_keys(path, NOW, b"b" * 32)
    rotate_keys(path, NOW + MAX_LIFETIME - 1, b"c" * 32)
    names = {each.name for each in path.parent.iterdir()}
    assert names == {"issuer.key", f"issuer.{NOW}.key", f"issuer.{NOW + MAX_LIFETIME - 1}.key"}
    rotate_keys(path, NOW + MAX_LIFETIME, b"d" * 32)
    assert f"issuer.{NOW}.key" not in {each.name for each in path.parent.iterdir()}
    assert {each.stat().st_mode & 0o777 for each in path.parent.iterdir()} == {0o600}


def test_a_rotation_that_was_broken_off_at_any_step_loses_no_key(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def kill(*_: object, **__: object) -> None:
        raise Killed

    issuer = issuer_of(path)
    for number, step in enumerate(("os.link", "pathlib.Path.replace", "os.fsync")):
        before = token_of(issuer)
        with monkeypatch.context() as patched:
            patched.setattr(step, kill)
            with pytest.raises(Killed):
                rotate_keys(path, NOW + 10 * number, os.urandom(32))
        between = token_of(issuer)
        rotate_keys(path, NOW + 10 * number + 5, os.urandom(32))
        for token in (before, between, token_of(issuer)):
            assert issuer.verify_access(token, NOW + MAX_LIFETIME - 1).sub == "alice"
            assert issuer_of(path).verify_access(token, NOW + MAX_LIFETIME - 1).sub == "alice"


def test_rotations_at_the_same_time_lose_no_key(path: Path) -> None:
    issuer = issuer_of(path)
    tokens = [token_of(issuer)]
    failures: list[SetupError] = []

    def rotate(moment: int) -> None:
        try:
            rotate_keys(path, moment, os.urandom(32))
            tokens.append(token_of(issuer_of(path)))
        except SetupError as failure:
            failures.append(failure)

    threads = [threading.Thread(target=rotate, args=(NOW + number // 2,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Two in one second: the second one is told, and nothing is lost.
    assert len(failures) == 4
    assert len(tokens) == 5
    for token in tokens:
        assert issuer.verify_access(token, NOW + 10).sub == "alice"


def test_an_old_key_open_to_others_is_refused_and_a_running_server_goes_on(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    issuer = issuer_of(path)
    old = token_of(issuer)
    rotate_keys(path, NOW, b"b" * 32)
    issuer.verify_access(old, NOW)
    path.unlink()
    assert issuer.verify_access(old, NOW).sub == "alice"
    assert "cannot be read again" in caplog.text
    path.write_bytes(b"b" * 32)
    with pytest.raises(SetupError, match="chmod 600"):
        issuer_of(path)


def test_files_with_other_names_are_no_keys(path: Path) -> None:
    for name in ("issuer.key.bak", "issuer.x.key", "issuer.-1.key", "issuer.1.key.old", "other.1.key", "issuer..key"):
        path.with_name(name).write_bytes(b"x")
    assert read_keys(path).retired == ()


def test_the_command_rotates_on_record_and_tokens_of_before_and_after_count(
    world: Any, settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KEYSERVER_DATABASE_URL", raising=False)
    before = world.person("alice")
    assert main(["issuer", "rotate", "--data", str(settings.data)]) == 0
    output = capsys.readouterr()
    assert (output.err, output.out.count("\n")) == ("", 1)
    kid = read_keys(settings.issuer_key_file).kid
    assert output.out == f"the issuer signs with key {kid}\n"
    after = world.person("bob")
    assert jwt.get_unverified_header(after.token)["kid"] == kid
    assert [person.get("/v1/keys").status_code for person in (before, after)] == [200, 200]
    assert json.loads(world.leaves()[-1])["event"] == "issuer.rotate.allowed"


def test_a_rotation_that_fails_is_not_on_record(world: Any, settings: Settings) -> None:
    before = len(world.leaves())
    settings.issuer_key_file.with_name(f"issuer.{NOW}.key").touch(mode=0o600)
    with pytest.raises(SetupError):
        installation.rotate_issuer(settings, NOW)
    assert len(world.leaves()) == before
