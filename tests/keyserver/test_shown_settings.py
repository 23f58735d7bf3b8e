"""The command `keyserver settings`: everything that is in force, and no secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from keyserver.cli import main
from keyserver.settings import Settings
from keyserver.shown_settings import shown_settings


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*arguments: str, **environment: str) -> dict[str, str]:
        for name in Settings.model_fields:
            monkeypatch.delenv(f"KEYSERVER_{name.upper()}", raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(f"KEYSERVER_{name.upper()}", value)
        assert main(["settings", *arguments]) == 0
        output, errors = capsys.readouterr()
        assert errors == ""
        return dict(line.split("=", 1) for line in output.splitlines())

    return run


def test_every_setting_is_printed_once_whether_it_was_set_or_not(printed: Any) -> None:
    shown = printed()
    assert list(shown) == [f"KEYSERVER_{name.upper()}" for name in Settings.model_fields]
    assert shown["KEYSERVER_DATA"] == "keyserver-data"
    assert (shown["KEYSERVER_ROOT"], shown["KEYSERVER_EXTERNAL_URL"]) == ("file", "none")


def test_the_folder_of_the_option_and_the_values_of_the_environment_are_the_ones_that_hold(
    printed: Any, tmp_path: Path
) -> None:
    shown = printed("--data", str(tmp_path), data="elsewhere", client_rates="create=7,read=9", root="aws-kms")
    assert shown["KEYSERVER_DATA"] == str(tmp_path)
    assert shown["KEYSERVER_CLIENT_RATES"] == "create=7,read=9"
    assert shown["KEYSERVER_ROOT"] == "aws-kms"


@pytest.mark.parametrize(
    ("url", "printed_url"),
    [
        ("postgresql+psycopg://keyserver:hidden@db:5433/keys", "postgresql+psycopg://db:5433/keys"),
        ("postgresql+psycopg://db/keys?user=keyserver&password=hidden", "postgresql+psycopg://db/keys"),
        ("postgresql+psycopg://hidden@/keys", "postgresql+psycopg:///keys"),
        ("sqlite:////var/lib/keys.sqlite3", "sqlite:////var/lib/keys.sqlite3"),
        ("hidden", "(not a database's URL)"),
    ],
)
def test_of_the_database_only_its_place_is_printed(printed: Any, url: str, printed_url: str) -> None:
    shown = printed(database_url=url)
    assert shown["KEYSERVER_DATABASE_URL"] == printed_url
    assert "hidden" not in "".join(shown.values())


def test_credentials_in_other_urls_are_not_printed(printed: Any) -> None:
    shown = printed(
        traces_endpoint="https://user:hidden@collector:4318/v1/traces?key=hidden",
        vault_url="https://user:hidden@vault.example:8200",
    )
    assert shown["KEYSERVER_TRACES_ENDPOINT"] == "https://collector:4318/v1/traces"
    assert shown["KEYSERVER_VAULT_URL"] == "https://vault.example:8200"
    assert "hidden" not in "".join(shown.values())


def test_what_is_printed_can_be_set_again_and_means_the_same(printed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first = printed(
        webhook_networks='["10.1.0.0/16", "fd00::/8"]', tenant_rates="create=1", header_seconds="2.5", log_level="debug"
    )
    for name, value in first.items():
        if value != "none":
            monkeypatch.setenv(name, value)
    assert dict(shown_settings(Settings())) == first
