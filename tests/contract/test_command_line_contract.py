"""The commands `faceseal keys` and `faceseal grants` against a real key server."""

import json

import pytest
import typer
from PIL import Image
from skimage.data import astronaut, coffee

from faceseal.cli.console import run
from faceseal.cli.finding import find
from faceseal.cli.grants import grants_app
from faceseal.cli.keys import keys_app
from faceseal.envelope.header import pixel_digest
from faceseal.perceptual import perceptual_hash
from faceseal.wire import Grant, GrantPage, KeyInfo, KeyMatches, KeyPage


@pytest.fixture
def faceseal(running, monkeypatch, capsys):
    """Runs a command as some subject; gives its exit code, output and errors."""
    app = typer.Typer(no_args_is_help=True)
    app.add_typer(keys_app, name="keys")
    app.add_typer(grants_app, name="grants")
    app.command()(find)

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


def test_a_key_goes_through_its_states(faceseal, key):
    for command, state in (
        ("suspend", "suspended"),
        ("resume", "active"),
        ("schedule-destruction", "destruction_scheduled"),
        ("cancel-destruction", "suspended"),
    ):
        code, out, err = faceseal("ada", "keys", command, key.key_id, "--json")
        assert (code, err) == (0, "")
        info = KeyInfo.model_validate_json(out)
        assert (info.id, info.state) == (key.key_id, state)
        assert (info.destruction_due_at is not None) is (command == "schedule-destruction")
        assert state in faceseal("ada", "keys", "show", key.key_id)[1]
    code, out, err = faceseal("ada", "keys", "cancel-destruction", key.key_id)
    assert (code, out) == (2, "")
    assert "no destruction is ahead" in err


def test_keys_are_listed_by_label_state_and_creator(faceseal, client):
    made = [key.key_id for key in client("lister").create_keys(3, [{"a:b": "1"}, {"a:b": "2"}, {"a:b": "2"}])]
    client("ada").suspend_key(made[1])

    def listed(*options):
        code, out, err = faceseal("lister", "keys", "list", "--json", *options)
        assert (code, err) == (0, "")
        return {key.id for key in KeyPage.model_validate_json(out).keys}

    assert listed("--label", r"a\:b:2") == set(made[1:])
    assert listed("--label", r"a\:b:2", "--state", "active") == {made[2]}
    assert listed("--by", "lister") == set(made)
    assert len(listed("--by", "lister", "--limit", "2")) == 2
    code, _, err = faceseal("lister", "keys", "list", "--label", "no-colon")
    assert (code, "NAME:VALUE" in err) == (2, True)


def test_a_photo_that_lost_its_metadata_is_found(faceseal, client, tmp_path):
    camera = client("camera")
    sealed, copy, other = (tmp_path / name for name in ("sealed.png", "copy.jpg", "other.png"))
    Image.fromarray(astronaut()).save(sealed)
    Image.fromarray(astronaut()).resize((300, 300)).save(copy, quality=60)
    Image.fromarray(coffee()).save(other)
    key = camera.create()
    camera.bind(key.key_id, pixel_digest(astronaut(), None), perceptual_hash(astronaut()))
    for photo, nearest in ((sealed, 0), (copy, None)):
        code, out, err = faceseal("rita", "find", photo, "--json")
        assert (code, err) == (0, "")
        found = KeyMatches.model_validate_json(out).matches
        assert key.key_id in [match.key.id for match in found]
        assert found[0].distance <= (10 if nearest is None else nearest)
        assert str(key.key_id) in faceseal("rita", "find", photo)[1]
    code, out, _ = faceseal("rita", "find", other)
    assert code == 0
    assert "no photo that looks like this" in out
