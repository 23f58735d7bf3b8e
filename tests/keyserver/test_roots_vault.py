"""The Vault root: the real hvac against a peer of the transit engine, over a real socket."""

from __future__ import annotations

import base64
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from vault_peer import TOKEN, VaultPeer, running_vault

from keyserver import installation, keywrap
from keyserver.errors import SetupError, Unavailable, WrapBroken
from keyserver.keywrap import RootKind, TimeLimited
from keyserver.keywrap.vault_transit import VaultTransitRoot
from keyserver.settings import Settings

KEK = bytes(range(32))


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch) -> Iterator[VaultPeer]:
    for name in [name for name in os.environ if name.lower().endswith("_proxy") or name.startswith("VAULT_")]:
        monkeypatch.delenv(name)
    with running_vault() as peer:
        yield peer


def root(vault: VaultPeer, key: str = "keyserver-root", token: str = TOKEN) -> VaultTransitRoot:
    return VaultTransitRoot(vault.url, token, "transit", key)


def test_a_kek_comes_back_and_only_in_its_context(vault: VaultPeer) -> None:
    root(vault).check()
    wrapped = keywrap.wrap_new_kek(root(vault), "default", 1, os.urandom)
    assert wrapped.startswith(b"vault:v1:")
    keywrap.open_kek(root(vault), wrapped, "default", 1)
    for tenant, epoch in (("other", 1), ("default", 2)):
        with pytest.raises(WrapBroken):
            keywrap.open_kek(root(vault), wrapped, tenant, epoch)


def test_equal_keks_are_wrapped_differently_and_nothing_asks_for_convergence(vault: VaultPeer) -> None:
    assert len({root(vault).wrap(KEK, b"context") for _ in range(20)}) == 20
    for _, _, _, body in vault.requests:
        assert body.keys() == {"plaintext", "associated_data"}


def test_what_is_altered_or_of_another_kind_does_not_open(vault: VaultPeer) -> None:
    wrapped = root(vault).wrap(KEK, b"context")
    before = len(vault.requests)
    for spoiled in (b"", b"\xff" * 60, os.urandom(60), wrapped[8:], b"vault:v1:" + b"A" * 2000):
        with pytest.raises(WrapBroken):
            root(vault).unwrap(spoiled, b"context")
    assert len(vault.requests) == before
    for spoiled in (wrapped[:-8], wrapped[:-5] + b"AAAA=", b"vault:v1:"):
        with pytest.raises(WrapBroken):
            root(vault).unwrap(spoiled, b"context")


def test_another_key_of_the_same_vault_does_not_open_it(vault: VaultPeer) -> None:
    vault.keys["another"] = (vault.keys["keyserver-root"][0], os.urandom(32))
    with pytest.raises(WrapBroken):
        root(vault, "another").unwrap(root(vault).wrap(KEK, b"context"), b"context")


def test_a_secret_of_another_length_is_no_kek(vault: VaultPeer) -> None:
    planted = root(vault).wrap(b"short", b"context")
    with pytest.raises(WrapBroken, match="length"):
        root(vault).unwrap(planted, b"context")


@pytest.mark.parametrize("mood", ["sealed", "failing", "redirecting", "babbling"])
def test_a_vault_in_trouble_is_unavailable(vault: VaultPeer, mood: str) -> None:
    wrapped = root(vault).wrap(KEK, b"context")
    vault.mood = mood
    for ask in (lambda: root(vault).wrap(KEK, b"context"), lambda: root(vault).unwrap(wrapped, b"context")):
        with pytest.raises(Unavailable) as outage:
            TimeLimited(root(vault), 5, 1)._within(ask)
        assert not isinstance(outage.value, WrapBroken)
        assert TOKEN not in str(outage.value)
        assert vault.url not in str(outage.value)


@pytest.mark.parametrize("mood", ["slow", "dribbling"])
def test_a_vault_that_never_finishes_is_unavailable_in_time(vault: VaultPeer, mood: str) -> None:
    limited = TimeLimited(root(vault), 0.2, 1)
    vault.mood = mood
    with pytest.raises(Unavailable, match=r"within 0\.2 seconds"):
        limited.wrap(KEK, b"context")


def test_a_redirect_never_carries_the_token_elsewhere(vault: VaultPeer) -> None:
    vault.mood = "redirecting"
    with pytest.raises(Unavailable):
        TimeLimited(root(vault), 5, 1).wrap(KEK, b"context")
    assert [path for _, path, _, _ in vault.requests] == ["/v1/transit/encrypt/keyserver-root"]


def test_a_vault_that_is_not_there_is_unavailable(vault: VaultPeer) -> None:
    gone = VaultTransitRoot("http://127.0.0.1:1", TOKEN, "transit", "keyserver-root")
    for ask in (gone.check, lambda: gone.wrap(KEK, b"c"), lambda: gone.unwrap(b"vault:v1:AAAA", b"c")):
        with pytest.raises(Unavailable) as outage:
            ask()
        assert not isinstance(outage.value, WrapBroken)


def test_a_token_that_ran_out_is_unavailable_and_a_wrong_one_is_refused_at_the_start(vault: VaultPeer) -> None:
    wrapped = root(vault).wrap(KEK, b"context")
    with pytest.raises(Unavailable, match="Forbidden") as outage:
        root(vault, token="hvs.another").unwrap(wrapped, b"context")
    assert "hvs" not in str(outage.value)
    with pytest.raises(SetupError, match="Forbidden"):
        root(vault, token="hvs.another").check()


def test_a_key_that_is_gone_is_an_outage_and_no_broken_wrap(vault: VaultPeer) -> None:
    wrapped = root(vault).wrap(KEK, b"context")
    vault.keys.clear()
    with pytest.raises(Unavailable, match="no longer has the key") as outage:
        root(vault).unwrap(wrapped, b"context")
    assert not isinstance(outage.value, WrapBroken)
    with pytest.raises(SetupError, match="InvalidPath"):
        root(vault).check()
    assert vault.keys == {}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"type": "chacha20-poly1305"}, "aes256-gcm96"),
        ({"type": "rsa-4096"}, "aes256-gcm96"),
        ({"derived": True}, "derived=false"),
        ({"exportable": True}, "exportable=false"),
        ({"allow_plaintext_backup": True}, "allow_plaintext_backup=false"),
    ],
    ids=str,
)
def test_a_key_that_is_not_fit_is_refused_at_the_start(vault: VaultPeer, change: dict[str, object], words: str) -> None:
    vault.keys["keyserver-root"][0].update(change)
    with pytest.raises(SetupError, match=words):
        root(vault).check()


@pytest.mark.parametrize(
    "url",
    [
        "http://vault.example:8200",
        "http://127.0.0.1.example",
        "http://localhost@vault.example",
        "https://user:secret@vault.example",
        "https://",
        "ftp://127.0.0.1",
        "vault.example",
        "",
    ],
)
def test_an_address_that_would_show_the_token_is_refused(url: str) -> None:
    with pytest.raises(SetupError) as refusal:
        VaultTransitRoot(url, TOKEN, "transit", "keyserver-root")
    assert "secret" not in str(refusal.value)


def test_neither_kek_nor_token_is_logged_even_at_the_lowest_level(
    vault: VaultPeer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    kek = os.urandom(32)
    root(vault).unwrap(root(vault).wrap(kek, b"context"), b"context")
    logged = "\n".join(record.getMessage() for record in caplog.records)
    assert "POST" in logged
    for shown in (base64.b64encode(kek).decode(), kek.hex(), TOKEN):
        assert shown not in logged
    assert TOKEN not in repr(vars(root(vault)))


@pytest.fixture
def vault_settings(vault: VaultPeer, tmp_path: Path) -> Settings:
    token_file = tmp_path / "token"
    token_file.write_text(TOKEN + "\n")
    token_file.chmod(0o600)
    return Settings(
        data=tmp_path / "data", root=RootKind.VAULT_TRANSIT, vault_url=vault.url, vault_token_file=token_file
    )


def test_an_installation_lives_on_vault_and_outlasts_an_outage_for_what_it_has_open(
    vault: VaultPeer, vault_settings: Settings
) -> None:
    installation.initialise(vault_settings, "default", 1).database.close()
    ports = installation.open_ports(vault_settings)
    with ports.database.reading() as session:
        row = installation.queries.current_kek(session, "default")
    assert row is not None
    vault.mood = "sealed"
    keywrap.open_kek(ports.root, row.wrapped, row.tenant, row.epoch)
    with pytest.raises(Unavailable):
        keywrap.wrap_new_kek(ports.root, "default", 2, os.urandom)
    ports.database.close()
    with pytest.raises(Unavailable):
        installation.open_ports(vault_settings)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"vault_url": ""}, "KEYSERVER_VAULT_URL"),
        ({"vault_token_file": None}, "KEYSERVER_VAULT_TOKEN_FILE"),
        ({"root": RootKind.PKCS11}, "KEYSERVER_PKCS11_MODULE"),
        ({"root": RootKind.AWS_KMS}, "KEYSERVER_AWS_KMS_KEY"),
    ],
    ids=str,
)
def test_a_setting_that_is_missing_is_named(vault_settings: Settings, change: dict[str, object], words: str) -> None:
    with pytest.raises(SetupError, match=words):
        installation.initialise(vault_settings.model_copy(update=change), "default", 1)


@pytest.mark.parametrize("kind", [RootKind.PKCS11, RootKind.AWS_KMS, RootKind.VAULT_TRANSIT])
def test_a_library_that_is_not_installed_is_named(
    vault_settings: Settings, kind: RootKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = {"pkcs11": "pkcs11_token", "aws-kms": "aws_kms", "vault-transit": "vault_transit"}[kind.value]
    monkeypatch.setitem(sys.modules, f"keyserver.keywrap.{module}", None)
    with pytest.raises(SetupError, match=rf"pip install 'faceseal-keyserver\[{kind.value}\]'"):
        installation.initialise(vault_settings.model_copy(update={"root": kind}), "default", 1)
