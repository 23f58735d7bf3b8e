"""The commands `faceseal keys` and `faceseal grants` against a real key server."""

import json

import pytest
import typer

from faceseal.cli.console import run
from faceseal.cli.grants import grants_app
from faceseal.cli.keys import keys_app
from faceseal.wire import Grant, GrantPage, KeyInfo, KeyPage


@pytest.fixture
def faceseal(running, monkeypatch, capsys):
    """Runs a command as some subject; gives its exit code, output and errors."""
    app = typer.Typer(no_args_is_help=True)
    app.add_typer(keys_app, name="keys")
    app.add_typer(grants_app, name="grants")

    def invoke(subject, *arguments):
        monkeypatch.setenv("FACESEAL_TOKEN", running.token(subject))
        code = run(app, [*(str(argument) for argument in arguments), "--server", running.url])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return invoke


@pytest.fixture
def key(client):
    return client("camera").create({"album": "command line"})


def test_a_grant_is_requested_approved_shown_and_revoked(faceseal, key):
    code, out, err = faceseal("rita", "grants", "request", key.key_id, "--purpose", "a test", "--json")
    assert (code, err) == (0, "")
    grant = Grant.model_validate_json(out)
    assert (grant.purpose, grant.token) == ("a test", None)

    code, out, _ = faceseal("rita", "grants", "show", grant.id, "--token")
    assert (code, out) == (2, "")

    code, out, _ = faceseal("ben", "grants", "approve", grant.id)
    assert code == 0
    assert "approved" in out

    code, token, _ = faceseal("rita", "grants", "show", grant.id, "--token")
    assert code == 0
    assert token.count(".") == 2
    for arguments in (("show", grant.id), ("show", grant.id, "--json"), ("list",), ("list", "--json")):
        code, out, _ = faceseal("rita", "grants", *arguments)
        assert code == 0
        assert str(grant.id) in out
        assert token.strip() not in out

    code, out, _ = faceseal("rita", "grants", "revoke", grant.id)
    assert code == 0
    assert "revoked" in out


def test_a_denied_grant_says_so_and_lists_are_the_wire_models(faceseal, key):
    _, out, _ = faceseal("rita", "grants", "request", key.key_id, "--purpose", "a test", "--json")
    grant = Grant.model_validate_json(out)
    assert "denied" in faceseal("ben", "grants", "deny", grant.id)[1]
    _, out, _ = faceseal("ben", "grants", "list", "--json")
    assert grant.id in [listed.id for listed in GrantPage.model_validate_json(out).grants]


def test_the_columns_of_a_list_are_aligned(faceseal, key):
    faceseal("rita", "grants", "request", key.key_id, "--purpose", "the purpose", "--uses", "1000")
    header, *rows = faceseal("rita", "grants", "list")[1].splitlines()
    assert rows
    column = header.index("STATE")
    assert all(row[column - 2 : column] == "  " and row[column] != " " for row in rows)


def test_keys_are_listed_shown_and_revoked_without_their_secret(faceseal, key):
    code, out, _ = faceseal("camera", "keys", "list", "--json")
    assert code == 0
    assert key.key_id in [listed.id for listed in KeyPage.model_validate_json(out).keys]
    for arguments in (("list",), ("show", key.key_id), ("show", key.key_id, "--json")):
        out = faceseal("camera", "keys", *arguments)[1]
        assert str(key.key_id) in out
        assert "active" in out
        assert "album" in out
        assert key.secret.hex() not in out
    assert KeyInfo.model_validate_json(faceseal("ada", "keys", "revoke", key.key_id, "--json")[1]).state == "suspended"


def test_a_refusal_is_one_line_on_standard_error(faceseal, key):
    _, out, _ = faceseal("rita", "grants", "request", key.key_id, "--purpose", "a test", "--json")
    code, out, err = faceseal("rita", "grants", "approve", json.loads(out)["id"])
    assert (code, out) == (2, "")
    assert err.startswith("faceseal: the key server refuses")
    assert err.count("\n") == 1
