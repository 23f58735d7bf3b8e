"""The KMS root: the real boto3 against moto's server, over a real socket."""

from __future__ import annotations

import base64
import logging
import os
import socket
from typing import Any

import boto3
import pytest
from moto_peer import lead_to

from keyserver import installation, keywrap
from keyserver.errors import SetupError, Unavailable, WrapBroken
from keyserver.keywrap import TimeLimited
from keyserver.keywrap.aws_kms import AwsKmsRoot
from keyserver.settings import Settings

KEK = bytes(range(32))


@pytest.fixture
def kms(aws_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Another client of the same KMS, with the environment that the server reads."""
    lead_to(aws_endpoint, "KMS", monkeypatch, "eu-central-1")
    return boto3.client("kms")


def new_key(kms: Any, **fields: str) -> str:
    return str(kms.create_key(**fields)["KeyMetadata"]["Arn"])


def test_a_kek_comes_back_and_only_in_its_context(kms: Any) -> None:
    root = AwsKmsRoot(new_key(kms))
    root.check()
    wrapped = keywrap.wrap_new_kek(root, "default", 1, os.urandom)
    keywrap.open_kek(root, wrapped, "default", 1)
    for tenant, epoch in (("other", 1), ("default", 2)):
        with pytest.raises(WrapBroken):
            keywrap.open_kek(root, wrapped, tenant, epoch)


def test_what_is_altered_or_nothing_does_not_open(kms: Any) -> None:
    root = AwsKmsRoot(new_key(kms))
    wrapped = root.wrap(KEK, b"context")
    for spoiled in (b"", wrapped[:-1], wrapped[:-1] + bytes([wrapped[-1] ^ 1]), b"x" * 7000):
        with pytest.raises(WrapBroken):
            root.unwrap(spoiled, b"context")


def test_what_another_key_of_the_same_account_wrapped_is_refused(kms: Any) -> None:
    mine, attackers = AwsKmsRoot(new_key(kms)), AwsKmsRoot(new_key(kms))
    planted = attackers.wrap(KEK, b"context")
    assert attackers.unwrap(planted, b"context") == KEK
    with pytest.raises(Unavailable):
        mine.unwrap(planted, b"context")


def test_a_secret_of_another_length_is_no_kek(kms: Any) -> None:
    key = new_key(kms)
    context = {"faceseal-keyserver": base64.urlsafe_b64encode(b"context").decode()}
    planted = kms.encrypt(KeyId=key, Plaintext=b"short", EncryptionContext=context)["CiphertextBlob"]
    with pytest.raises(WrapBroken, match="length"):
        AwsKmsRoot(key).unwrap(planted, b"context")


def test_a_key_that_is_not_fit_is_refused_at_the_start(kms: Any) -> None:
    disabled = new_key(kms)
    kms.disable_key(KeyId=disabled.rpartition("/")[2])
    for key in (disabled, new_key(kms, KeySpec="RSA_2048", KeyUsage="ENCRYPT_DECRYPT")):
        with pytest.raises(SetupError, match="not an enabled symmetric key"):
            AwsKmsRoot(key).check()
    with pytest.raises(SetupError, match="does not show the key"):
        AwsKmsRoot("00000000-0000-0000-0000-000000000000").check()


def test_a_kms_that_is_not_there_is_unavailable(kms: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    key = new_key(kms)
    wrapped = AwsKmsRoot(key).wrap(KEK, b"context")
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:1")
    root = AwsKmsRoot(key)
    for ask in (root.check, lambda: root.wrap(KEK, b"context"), lambda: root.unwrap(wrapped, b"context")):
        with pytest.raises(Unavailable) as outage:
            ask()
        assert not isinstance(outage.value, WrapBroken)
        assert "127.0.0.1" not in str(outage.value)


def test_a_kms_that_accepts_and_says_nothing_is_unavailable_in_time(kms: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", f"http://127.0.0.1:{silent.getsockname()[1]}")
        limited = TimeLimited(AwsKmsRoot("key"), 0.1, 1)
        with pytest.raises(Unavailable, match=r"within 0\.1 seconds"):
            limited.wrap(KEK, b"context")


def test_missing_aws_settings_are_a_mistake_of_the_operator(kms: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(SetupError, match="NoRegionError"):
        AwsKmsRoot("key")


def test_no_kek_is_logged_even_at_the_lowest_level(kms: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    root = AwsKmsRoot(new_key(kms))
    kek = os.urandom(32)
    root.unwrap(root.wrap(kek, b"context"), b"context")
    logged = "\n".join(record.getMessage() for record in caplog.records)
    assert "POST" in logged
    for shown in (base64.b64encode(kek).decode(), kek.hex(), repr(kek)[2:-1], "tests-only-secret"):
        assert shown not in logged


def test_an_installation_lives_on_kms(kms: Any, settings: Settings) -> None:
    local = settings.model_copy(update={"database_url": None, "data": settings.data / "inner"})
    fitted = local.model_copy(update={"root": keywrap.RootKind.AWS_KMS, "aws_kms_key": new_key(kms)})
    installation.initialise(fitted, "default", 1).database.close()
    assert not fitted.root_key_file.exists()
    ports = installation.open_ports(fitted)
    ports.database.close()
    assert "tests-only" not in repr(fitted)


DATABASE_KINDS = ["sqlite"]
