"""The real client against a real key server: policies, several approvers, labels, search and broken glass."""

import json
import time
from itertools import islice
from uuid import uuid4

import pytest
import typer

from faceseal.cli.console import run
from faceseal.cli.grants import grants_app
from faceseal.cli.purpose import released
from faceseal.client import KeyServer, LocalKeyring
from faceseal.errors import AccessDenied, KeySourceError, RequestRejected, UnknownKey
from faceseal.wire import Grant, GrantState, PurposeCode, Scope
from keyserver import installation
from keyserver.service import policies
from keyserver.settings import Settings


@pytest.fixture
def tenant(running):
    """A tenant of its own, whose policy these tests set."""
    name = f"t{uuid4().hex[:12]}"
    installation.initialise(Settings(data=running.data), name, int(time.time())).database.close()
    return name


@pytest.fixture
def connect(running, tenant):
    opened = []

    def connect(subject, *roles):
        token = running.issuer.issue_access(
            subject, tenant, frozenset(Scope), uuid4(), int(time.time()), 600, roles=frozenset(roles)
        )
        opened.append(KeyServer(running.url, token=token, log_key=running.log_key))
        return opened[-1]

    yield connect
    for server in opened:
        server.close()


@pytest.fixture
def set_policy(running, tenant):
    def set_policy(**rules):
        ports = installation.open_ports(Settings(data=running.data))
        policies.set_policy(ports, tenant, policies.parse_policy(json.dumps(rules).encode()))
        ports.database.close()

    return set_policy


def test_a_grant_by_labels_takes_two_people_and_releases_what_they_fit(connect, set_policy):
    set_policy(quorum=2)
    rita, camera = connect("rita"), connect("camera")
    first, second = camera.create({"case": "17"}), camera.create({"case": "17", "side": "left"})
    camera.create({"case": "18"})
    asked = rita.request_grant(
        labels={"case": "17"}, purpose_code=PurposeCode.COURT_ORDER, reference="17 O 4/26", uses=2
    )
    assert (asked.key_ids, asked.quorum, asked.purpose) == ([], 2, "court_order")
    assert connect("ben").approve_grant(asked.id).state is GrantState.PENDING
    with pytest.raises(AccessDenied, match="not approved yet"):
        rita.release(first.key_id, str(asked.id))
    granted = connect("cleo").approve_grant(asked.id)
    assert [approval.approver for approval in granted.approvals] == ["ben", "cleo"]
    assert set(granted.key_ids) == {first.key_id, second.key_id}
    assert rita.release(first.key_id, str(asked.id)) == first
    assert rita.release(second.key_id, str(asked.id)) == second


def test_glass_is_broken_with_a_receipt_and_by_nobody_else(connect, set_policy):
    set_policy(break_glass_role="emergency", quorum=5)
    key = connect("camera").create()
    doctor = connect("doctor", "emergency")
    assert doctor.break_glass(key.key_id, PurposeCode.MEDICAL_TREATMENT, "ward 3") == key
    assert json.loads(doctor.last_receipt.leaf)["event"] == "release.allowed"
    with pytest.raises(AccessDenied):
        connect("nurse").break_glass(key.key_id, PurposeCode.MEDICAL_TREATMENT, "ward 3")
    with pytest.raises(UnknownKey):
        doctor.break_glass(uuid4(), PurposeCode.MEDICAL_TREATMENT, "ward 3")
    with pytest.raises(RequestRejected, match="say in purpose what for"):
        doctor.break_glass(key.key_id, PurposeCode.OTHER, "ward 3")
    (told,) = connect("ben").search_grants(key_id=key.key_id)
    assert (told.break_glass, told.requested_by, told.reference) == (True, "doctor", "ward 3")


def test_a_search_goes_through_all_pages(connect):
    rita, key = connect("rita"), connect("camera").create()
    asked = [rita.request_grant([key.key_id], "a test").id for _ in range(103)]
    assert len(rita.list_grants()) == 100
    found = [grant.id for grant in rita.search_grants(state=GrantState.PENDING, purpose_code=PurposeCode.OTHER)]
    assert sorted(found) == sorted(asked)
    assert len(list(islice(rita.search_grants(), 2))) == 2
    assert list(rita.search_grants(requested_by="nobody & co")) == []


def test_a_grant_that_has_not_begun_says_when(connect):
    rita, key = connect("rita"), connect("camera").create()
    grant = rita.request_grant([key.key_id], "a test", not_before=int(time.time()) + 3600)
    connect("ben").approve_grant(grant.id)
    with pytest.raises(AccessDenied, match="begins at"):
        rita.release(key.key_id, str(grant.id))
    token = rita.grant(grant.id).token
    with pytest.raises(AccessDenied, match="refuses"):
        rita.release(key.key_id, token)


def test_the_policy_is_shown_and_what_it_refuses_is_a_denial(connect, set_policy):
    assert connect("ada").policy().version == 0
    set_policy(quorum=2, purposes=["court_order"])
    assert (connect("ada").policy().version, connect("ada").policy().policy.quorum) == (1, 2)
    with pytest.raises(AccessDenied):
        connect("rita").request_grant([connect("camera").create().key_id], "a test")


@pytest.fixture
def faceseal(running, tenant, monkeypatch, capsys):
    app = typer.Typer(no_args_is_help=True)
    app.add_typer(grants_app, name="grants")

    def invoke(subject, *arguments):
        token = running.issuer.issue_access(
            subject, tenant, frozenset(Scope), uuid4(), int(time.time()), 600, roles=frozenset({"emergency"})
        )
        monkeypatch.setenv("FACESEAL_TOKEN", token)
        code = run(app, [*(str(argument) for argument in arguments), "--server", running.url])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return invoke


def test_the_command_asks_by_labels_with_a_purpose_and_lists_by_it(faceseal, connect):
    connect("camera").create({"case": "17", "side": "left"})
    code, out, err = faceseal(
        *("rita", "grants", "request", "--label", "case=17", "--label", "side=left", "--purpose-code", "court_order"),
        *("--reference", "17 O 4/26", "--not-before", "2020-01-31T12:00:00", "--json"),
    )
    assert (code, err) == (0, "")
    grant = Grant.model_validate_json(out)
    assert (grant.labels, grant.purpose_code) == ({"case": "17", "side": "left"}, PurposeCode.COURT_ORDER)
    assert (grant.reference, grant.not_before) == ("17 O 4/26", 1_580_472_000)
    shown = faceseal("ben", "grants", "approve", grant.id)[1]
    assert "1 of 1: ben" in shown
    assert "case=17, side=left" in shown
    listed = faceseal("ben", "grants", "list", "--purpose-code", "court_order", "--state", "approved", "--by", "rita")[
        1
    ]
    assert str(grant.id) in listed
    assert str(grant.id) not in faceseal("ben", "grants", "list", "--state", "denied")[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--label", "case=17"], "--purpose TEXT"),
        (["--purpose", "x"], "--label NAME=VALUE"),
        ([str(uuid4()), "--label", "case=17", "--purpose", "x"], "--label NAME=VALUE"),
        (["--label", "case", "--purpose", "x"], "a label is NAME=VALUE"),
        (["--label", "case=1", "--label", "case=2", "--purpose", "x"], "each name is given once"),
        (["--label", "case=17", "--purpose-code", "fun"], "--purpose-code"),
        (["--label", "case=17", "--purpose", "x", "--not-before", "tomorrow"], "--not-before"),
    ],
)
def test_a_request_that_is_not_complete_says_what_is_missing(faceseal, arguments, words):
    code, out, err = faceseal("rita", "grants", "request", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert words in err


def test_the_command_for_emergencies_takes_what_it_has_to_account_for(connect, set_policy, tmp_path):
    set_policy(break_glass_role="emergency")
    key = connect("camera").create()
    doctor, code = connect("doctor", "emergency"), PurposeCode.MEDICAL_TREATMENT
    assert released(doctor, key.key_id, None, code, "ward 3", None) == key
    with pytest.raises(RequestRejected, match="--reference"):
        released(doctor, key.key_id, None, code, None, None)
    with pytest.raises(RequestRejected, match="--purpose TEXT"):
        released(doctor, key.key_id, None, PurposeCode.OTHER, "ward 3", None)
    with pytest.raises(KeySourceError, match="takes no grant"):
        released(doctor, key.key_id, str(uuid4()), code, "ward 3", None)
    with pytest.raises(KeySourceError, match="key server"):
        released(LocalKeyring(tmp_path / "keys.json", "word"), key.key_id, None, code, "ward 3", None)
    with pytest.raises(AccessDenied, match="needs a grant"):
        released(doctor, key.key_id, None, None, None, None)
