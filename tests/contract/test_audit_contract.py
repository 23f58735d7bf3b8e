"""The real client, and the command line, reading the audit log of a real key server."""

import json
from uuid import uuid4

import pytest
import typer
from PIL import Image
from skimage.data import chelsea

from faceseal.cli.audit import audit_app
from faceseal.cli.console import run
from faceseal.envelope.header import pixel_digest
from faceseal.errors import AccessDenied, RequestRejected
from faceseal.perceptual import perceptual_hash
from faceseal.wire import AuditEntry, AuditOutcome, PersonalData, Scope


@pytest.fixture
def auditor(client):
    return client("ines", Scope.AUDIT_READ)


@pytest.fixture
def released(client):
    """A key that rita was given for a photo, which another was refused; and rita's own name."""
    rita = f"rita-{uuid4()}"
    camera, reporter = client("camera"), client(rita)
    key = camera.create()
    picture = chelsea()
    camera.bind(key.key_id, pixel_digest(picture, None), perceptual_hash(picture))
    grant = reporter.request_grant([key.key_id], "a correction", reference="desk 4/17")
    client("ben").approve_grant(grant.id)
    reporter.release(key.key_id, str(grant.id))
    return key.key_id, grant.id, rita


def test_who_has_seen_a_photo_is_one_call(auditor, released):
    key_id, grant_id, rita = released
    seen = auditor.who_has_seen(key_id=key_id)
    assert [match.key.id for match in seen.keys] == [key_id]
    said = [(entry.action, entry.actor, entry.grant_id, entry.reference) for entry in seen.entries]
    assert said == [
        ("release", rita, grant_id, "desk 4/17"),
        ("grant.approve", "ben", grant_id, "desk 4/17"),
        ("grant.request", rita, grant_id, "desk 4/17"),
        ("key.bind", "camera", None, None),
        ("key.create", "camera", None, None),
    ]
    assert seen.entries[0].jkt is not None
    assert seen.entries[0].purpose == "a correction"
    picture = chelsea()
    by_digest = auditor.who_has_seen(sealed_digest=pixel_digest(picture, None))
    by_look = auditor.who_has_seen(perceptual_hash=perceptual_hash(picture))
    for found in (by_digest, by_look):
        assert {entry.index for entry in seen.entries} <= {entry.index for entry in found.entries}


def test_a_search_goes_through_all_pages(client, auditor):
    name = f"camera-{uuid4()}"
    keys = client(name).create_keys(250)
    found = list(auditor.search_audit(actor=name))
    assert [entry.key_ids[0] for entry in found] == [key.key_id for key in keys][::-1]
    assert {entry.personal for entry in found} == {PersonalData.OPENED}
    assert list(auditor.search_audit(actor=name, outcome=AuditOutcome.DENIED)) == []
    assert list(auditor.search_audit(actor=name, before=found[-1].at)) == []


def test_what_the_protocol_does_not_know_is_not_sent_and_others_are_denied(client, auditor):
    for wanted in ({"action": "no such action!"}, {"after": -1}, {"who": "x"}):
        with pytest.raises(RequestRejected):
            next(auditor.search_audit(**wanted))
    with pytest.raises(RequestRejected):
        auditor.who_has_seen()
    with pytest.raises(AccessDenied):
        client("rita", Scope.KEYS_RELEASE, Scope.KEYS_ADMIN).who_has_seen(key_id=uuid4())


@pytest.fixture
def faceseal(running, monkeypatch, capsys):
    app = typer.Typer(no_args_is_help=True)
    app.add_typer(audit_app, name="audit")

    def invoke(*arguments):
        monkeypatch.setenv("FACESEAL_TOKEN", running.token("ines", Scope.AUDIT_READ))
        code = run(app, [*(str(argument) for argument in arguments), "--server", running.url])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return invoke


def test_a_photo_that_lost_its_metadata_says_who_has_seen_it_on_the_command_line(faceseal, released, tmp_path):
    _, grant_id, rita = released
    Image.fromarray(chelsea()).save(tmp_path / "copy.png")
    Image.fromarray(chelsea()).save(tmp_path / "copy.jpg", quality=70)
    for name in ("copy.png", "copy.jpg"):
        code, out, err = faceseal("audit", "who", tmp_path / name)
        assert (code, err) == (0, "")
        (line,) = [line for line in out.splitlines() if rita in line and "release allowed" in line]
        assert str(grant_id) in line
        assert "a correction" in line
        assert "desk 4/17" in line
    Image.new("RGB", (64, 64), "white").save(tmp_path / "other.png")
    assert "no photo that looks like this one" in faceseal("audit", "who", tmp_path / "other.png")[1]
    assert faceseal("audit", "who", tmp_path / "missing.png")[0] == 2


def test_entries_are_searched_on_the_command_line(faceseal, released):
    key_id, grant_id, rita = released
    code, out, _ = faceseal("audit", "search", "--by", rita, "--action", "release", "--json")
    assert code == 0
    (entry,) = [AuditEntry.model_validate_json(json.dumps(each)) for each in json.loads(out)]
    assert (entry.grant_id, entry.key_ids, entry.actor) == (grant_id, [key_id], rita)
    code, out, _ = faceseal("audit", "search", "--key", key_id, "--after", "2020-01-01")
    assert code == 0
    assert rita in out
    assert len(faceseal("audit", "search", "--limit", "3")[1].splitlines()) == 4
    assert len(faceseal("audit", "search", "--by", rita, "--before", "2020-01-01")[1].splitlines()) == 1
    assert faceseal("audit", "search", "--action", "no such action!")[0] == 2
    assert faceseal("audit", "search", "--before", "1950-01-01")[0] == 2
