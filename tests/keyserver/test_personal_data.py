"""What the audit log says of people: sealed to a key of their own, and gone with it, while the log stays whole."""

from __future__ import annotations

import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

import pytest
from administrator import take_guard_away
from sqlalchemy import func, select, update

from faceseal.wire import decode_base64url, encode_base64url
from keyserver import audit, cli, installation
from keyserver.actions import Action
from keyserver.audit import Entry, Outcome, personal
from keyserver.audit.entry import OPERATOR
from keyserver.audit.export import export_lines, verify_export
from keyserver.audit.hiding import ContentKeys, hide
from keyserver.audit.personal import Binding, Subject
from keyserver.errors import NotFound, SetupError, WrapBroken
from keyserver.keywrap import FileRoot
from keyserver.service import keks, people
from keyserver.settings import Settings
from keyserver.store.tables import EntryRow, LogRow, SubjectRow

BINDING = Binding("default", uuid4(), "release.allowed", 1, uuid4())


@pytest.fixture
def auditor(world: Any) -> Any:
    return world.person("auditor", "audit:read")


def found(auditor: Any, **query: object) -> list[dict[str, Any]]:
    headers = auditor.headers(auditor.proof("GET", "/v1/audit/entries"))
    answer = auditor.client.get(f"/v1/audit/entries?{urlencode(query)}", headers=headers)
    assert answer.status_code == 200, answer.text
    entries: list[dict[str, Any]] = answer.json()["entries"]
    return entries


def erase(world: Any, name: str, tenant: str = "default") -> people.Erasing:
    return list(people.erase(world.ports, tenant, name, batch=2))[-1]


def people_in(world: Any) -> dict[str, UUID]:
    with world.ports.database.reading() as session:
        return {row.name: row.id for row in session.scalars(select(SubjectRow))}


def test_leaves_name_nobody_and_one_person_by_one_pseudonym(world: Any) -> None:
    # Names with a space: what is sealed is base64url, where a short name stands by chance now and then.
    asks, approves = world.person("alice asks"), world.person("bob approves")
    key, _ = asks.create_key()
    world.grant_token(asks, approves, key.id, reference="17 O 4/26")
    leaves = "".join(world.leaves())
    assert all(
        word not in leaves
        for word in ("alice asks", "bob approves", "court order 17", "17 O 4/26", asks.jkt, approves.jkt)
    )
    actors = [json.loads(leaf)["actor"] for leaf in world.leaves()]
    assert actors.count(str(people_in(world)["alice asks"])) == 2
    assert actors.count(str(people_in(world)["bob approves"])) == 1


def test_a_subject_called_like_the_operator_is_not_taken_for_it(world: Any) -> None:
    world.person(OPERATOR).create_key()
    leaf = json.loads(world.leaves()[-1])
    assert (leaf["event"], leaf["actor"]) == ("key.create.allowed", str(people_in(world)[OPERATOR]))


def test_names_of_one_tenant_are_other_people_in_another(world: Any, alice: Any) -> None:
    alice.create_key()
    world.person("alice", tenant="other").create_key()
    first, second = (json.loads(leaf)["actor"] for leaf in world.leaves()[-2:])
    assert first != second


def test_what_is_said_again_in_one_transaction_is_sealed_once_and_its_length_tells_no_name() -> None:
    def entry(actor: str) -> Entry:
        return Entry(at=1, action=Action.CREATE_KEY, outcome=Outcome.ALLOWED, actor=actor, tenant="t", key_id=uuid4())

    subject = Subject(uuid4(), personal.new_key()[1])
    everybody = {("t", name): replace(subject, id=uuid4()) for name in ("al", "a much longer name", "x")}
    one, again, other, short = hide([entry("al"), entry("al"), entry("a much longer name"), entry("x")], everybody)
    assert one is again
    sealed = [hidden.sealed for hidden in (one, other, short) if hidden is not None]
    assert len(set(sealed)) == 3
    assert len({len(each) for each in sealed}) == 1


def test_a_content_key_is_used_for_a_while_and_for_one_person() -> None:
    now = [0.0]
    keys = ContentKeys(lambda: now[0], seconds=60, capacity=3)
    people = [Subject(uuid4(), personal.new_key()[1]) for _ in range(4)]
    first = keys.of("t", people[0])
    assert keys.of("t", people[0]) is first
    assert keys.of("t", people[1]) is not first
    assert keys.of("other", people[0]) is not first
    keys.of("t", people[2])
    assert keys.of("t", people[0]) is not first
    again = keys.of("t", people[0])
    now[0] = 59.9
    assert keys.of("t", people[0]) is again
    now[0] = 60.0
    assert keys.of("t", people[0]) is not again
    assert first.key.hex() not in repr(first)


@pytest.mark.parametrize(
    "change",
    [
        {"tenant": "other"},
        {"subject": uuid4()},
        {"event": "release.denied"},
        {"at": 2},
        {"grant_id": uuid4()},
        {"grant_id": None},
    ],
    ids=["tenant", "subject", "event", "at", "grant", "no grant"],
)
def test_sealed_fields_open_in_their_own_place_alone(change: Any) -> None:
    private, public = personal.new_key()
    content_key = personal.new_content_key(BINDING.tenant, Subject(BINDING.subject, public))
    sealed = personal.seal_fields(b'{"actor":"alice"}', content_key, BINDING)
    assert personal.open_fields(sealed, private, BINDING) == {"actor": "alice"}
    for wrong in (replace(BINDING, **change), BINDING):
        with pytest.raises(WrapBroken):
            personal.open_fields(sealed, private if wrong is not BINDING else personal.new_key()[0], wrong)
    for place in (0, 40, 85, len(sealed) - 1):
        with pytest.raises(WrapBroken):
            personal.open_fields(sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :], private, BINDING)
    for length in (0, 50, 80, 92, len(sealed) - 1):
        with pytest.raises(WrapBroken):
            personal.open_fields(sealed[:length], private, BINDING)


def test_a_persons_key_opens_for_their_tenant_and_pseudonym_alone() -> None:
    reader, public = personal.new_key()
    subject = uuid4()
    sealed = personal.seal_person_key(b"k" * 32, public, "default", subject)
    assert personal.open_person_key(sealed, reader, "default", subject) == b"k" * 32
    for tenant, pseudonym in (("other", subject), ("default", uuid4())):
        with pytest.raises(WrapBroken):
            personal.open_person_key(sealed, reader, tenant, pseudonym)


def test_an_erased_person_is_gone_from_the_log_which_stays_whole(
    world: Any, alice: Any, bob: Any, auditor: Any, tmp_path: Path
) -> None:
    key, _ = alice.create_key()
    grant_id, token = world.grant_token(alice, bob, key.id, reference="17 O 4/26", uses=5)
    alice.release(key.id, token)
    before, pseudonym = world.leaves(), people_in(world)["alice"]

    assert erase(world, "alice") == people.Erasing(grants=1, keys=1)

    assert world.leaves()[: len(before)] == before
    with world.ports.database.reading() as session, (tmp_path / "log.jsonl").open("wb") as file:
        file.writelines(export_lines(session, world.ports.signer))
    assert verify_export(tmp_path / "log.jsonl", world.ports.signer.verifier_key).size == len(before) + 1
    erasure = json.loads(world.leaves()[-1])
    assert (erasure["event"], erasure["actor"], erasure["about"]) == ("subject.erase.allowed", OPERATOR, str(pseudonym))
    shown = found(auditor, grant_id=grant_id)
    assert [(entry["action"], entry["personal"], entry["actor"]) for entry in shown] == [
        ("release", "erased", None),
        ("grant.approve", "opened", "bob"),
        ("grant.request", "erased", None),
    ]
    for entry in (shown[0], shown[2]):
        assert (entry["pseudonym"], entry["jkt"], entry["purpose"], entry["reference"]) == (
            str(pseudonym),
            None,
            None,
            None,
        )


def test_an_erased_person_is_found_by_no_name_and_no_old_pseudonym(world: Any, alice: Any, auditor: Any) -> None:
    alice.create_key()
    pseudonym = people_in(world)["alice"]
    erase(world, "alice")
    assert found(auditor, actor="alice") == []
    assert found(auditor, actor=str(pseudonym)) == []
    # Not even by somebody who takes the pseudonym for a name, and is found by it.
    world.person(str(pseudonym)).create_key()
    assert [entry["actor"] for entry in found(auditor, actor=str(pseudonym))] == [str(pseudonym)]


def test_the_same_person_is_somebody_else_afterwards(world: Any, alice: Any, auditor: Any) -> None:
    alice.create_key()
    first = people_in(world)["alice"]
    erase(world, "alice")
    alice.create_key()
    second = people_in(world)["alice"]
    assert first != second
    assert [entry["pseudonym"] for entry in found(auditor, actor="alice")] == [str(second)]


def test_grants_and_keys_name_the_pseudonym_and_grants_of_the_erased_end(world: Any, alice: Any, bob: Any) -> None:
    keys = [alice.create_key()[0] for _ in range(5)]
    grant_id, token = world.grant_token(alice, bob, keys[0].id, uses=5, reference="17 O 4/26")
    pending = alice.request_grant(keys[1].id)["id"]
    pseudonyms = people_in(world)
    assert erase(world, "alice") == people.Erasing(grants=2, keys=5)
    assert alice.release(keys[0].id, token).status_code == 403
    assert alice.get(f"/v1/grants/{grant_id}").json()["token"] is None
    shown = bob.get(f"/v1/grants/{grant_id}").json()
    assert (shown["requested_by"], shown["state"], shown["jkt"]) == (str(pseudonyms["alice"]), "expired", None)
    assert (shown["purpose"], shown["reference"]) == ("other", None)
    assert bob.post(f"/v1/grants/{pending}/approve").status_code == 403
    assert bob.get(f"/v1/keys/{keys[0].id}").json()["created_by"] == str(pseudonyms["alice"])
    assert erase(world, "bob") == people.Erasing(grants=1, keys=0)
    shown = world.person("carol").get(f"/v1/grants/{grant_id}").json()
    assert shown["decided_by"] == shown["approvals"][0]["approver"] == str(pseudonyms["bob"])


def test_erasing_reaches_one_person_of_one_tenant(world: Any, alice: Any, bob: Any, auditor: Any) -> None:
    stranger = world.person("alice", tenant="other")
    for person in (alice, bob, stranger):
        person.create_key()
    erase(world, "alice", "other")
    assert [entry["actor"] for entry in found(auditor, action="key.create")] == ["bob", "alice"]
    for tenant, name in (("default", "nobody"), ("nowhere", "alice"), ("other", "alice")):
        before = world.leaves()
        with pytest.raises(NotFound):
            erase(world, name, tenant)
        assert world.leaves() == before


def test_an_erasure_that_was_stopped_goes_on(world: Any, alice: Any, bob: Any) -> None:
    keys = [alice.create_key()[0] for _ in range(5)]
    steps = people.erase(world.ports, "default", "alice", batch=2)
    next(steps), next(steps)
    steps.close()
    names = {bob.get(f"/v1/keys/{key.id}").json()["created_by"] for key in keys}
    assert "alice" in names
    assert erase(world, "alice").keys == 3
    assert "alice" not in {bob.get(f"/v1/keys/{key.id}").json()["created_by"] for key in keys}
    with pytest.raises(NotFound):
        erase(world, "alice")


def test_ciphertexts_that_were_swapped_show_as_broken(world: Any, alice: Any, bob: Any, auditor: Any) -> None:
    for person in (alice, bob):
        person.create_key()
    world.clock.now += 1
    alice.create_key()
    leaves = world.leaves()[-3:]
    sealed = [json.loads(leaf)["sealed"] for leaf in leaves]
    with world.ports.database.writing() as session:
        take_guard_away(session)
        # The first and the third are the same person's, and the same action.
        for mine, other in ((0, 2), (2, 0)):
            index, changed = json.loads(leaves[mine])["index"], leaves[mine].replace(sealed[mine], sealed[other])
            session.execute(update(EntryRow).where(EntryRow.entry_index == index).values(leaf=changed))
    shown = found(auditor, action="key.create")
    assert [(entry["personal"], entry["actor"]) for entry in shown] == [
        ("broken", None),
        ("opened", "bob"),
        ("broken", None),
    ]


def test_keys_of_people_that_were_swapped_show_as_broken(world: Any, alice: Any, bob: Any, auditor: Any) -> None:
    for person in (alice, bob):
        person.create_key()
    with world.ports.database.writing() as session:
        first, second = session.scalars(select(SubjectRow).where(SubjectRow.name.in_(["alice", "bob"]))).all()
        first.sealed, second.sealed = second.sealed, first.sealed
    assert [entry["personal"] for entry in found(auditor, action="key.create")] == ["broken", "broken"]


def test_first_entries_of_one_person_by_many_at_once_have_one_pseudonym(settings: Settings, world: Any) -> None:
    """By two replicas, each with threads of its own."""
    replicas = [installation.open_ports(settings, world.clock) for _ in range(2)]
    entry = Entry(at=1, action=Action.READ_KEYS, outcome=Outcome.DENIED, actor="new", tenant="default")
    together = threading.Barrier(8)

    def append(number: int) -> str:
        together.wait(10)
        others = [replace(entry, actor=f"person {place}") for place in range(3)]
        with replicas[number % 2].database.writing() as session:
            appended = audit.append_all(session, [entry, *(others if number % 2 else others[::-1])])
        actor: str = json.loads(appended[0].leaf)["actor"]
        return actor

    with ThreadPoolExecutor(8) as threads:
        actors = set(threads.map(append, range(8)))
    assert actors == {str(people_in(world)["new"])}
    for ports in replicas:
        ports.database.close()


def test_an_erasure_waits_for_entries_that_are_under_way(settings: Settings, world: Any, alice: Any) -> None:
    alice.create_key()
    other = installation.open_ports(settings, world.clock)
    entry = Entry(at=1, action=Action.READ_KEYS, outcome=Outcome.DENIED, actor="alice", tenant="default")
    done = threading.Event()

    def erase_it() -> None:
        list(people.erase(other, "default", "alice"))
        done.set()

    thread = threading.Thread(target=erase_it)
    with world.ports.database.writing() as session:
        audit.append(session, entry)
        thread.start()
        assert not done.wait(0.5)
    thread.join(20)
    assert done.is_set()
    # The entry is of the pseudonym that was erased after it, and nobody has that key.
    entry_of, erasure = world.entries()[-2:]
    assert erasure["about"] == entry_of["actor"]
    assert people_in(world) == {}
    other.database.close()


def test_the_reader_moves_with_the_root_and_is_checked_at_the_start(
    settings: Settings, world: Any, alice: Any, auditor: Any, tmp_path: Path
) -> None:
    alice.create_key()
    (tmp_path / "new.env").write_text(f"KEYSERVER_ROOT=file\nKEYSERVER_ROOT_FILE={tmp_path / 'new.key'}\n")
    with world.ports.database.reading() as session:
        before = session.get_one(LogRow, 1).reader_wrapped
    installation.move_root(settings, tmp_path / "new.env")
    moved = installation.open_ports(settings.model_copy(update={"root_file": tmp_path / "new.key"}))
    with moved.database.reading() as session:
        reader = people.wrapped_reader(session)
        assert reader is not None
        assert reader.wrapped != before
        assert len(people.opened_reader(reader, moved.root)) == 32
        with pytest.raises(WrapBroken):
            people.opened_reader(reader, world.ports.root)
    moved.database.close()


def test_a_server_does_not_start_without_a_reader_or_with_one_that_its_root_does_not_open(
    settings: Settings, world: Any
) -> None:
    with world.ports.database.writing() as session:
        head = session.get_one(LogRow, 1)
        head.reader_wrapped = FileRoot(b"n" * 32, os.urandom).wrap(b"k" * 32, b"x")
    with pytest.raises(SetupError, match="reader"):
        installation.open_ports(settings)
    with world.ports.database.writing() as session:
        head = session.get_one(LogRow, 1)
        head.reader_wrapped = head.reader_public = None
    with pytest.raises(SetupError, match="keyserver init"):
        installation.open_ports(settings)
    installation.initialise(settings, "default", 1).database.close()
    installation.open_ports(settings).database.close()


def test_what_is_done_to_keks_leaves_the_log_readable(world: Any, alice: Any, auditor: Any) -> None:
    alice.create_key()
    keks.rotate(world.ports, "default")
    list(keks.rewrap(world.ports, "default"))
    keks.destroy(world.ports, "default", 1)
    assert [entry["actor"] for entry in found(auditor, action="key.create")] == ["alice"]


def test_the_operator_erases_and_indexes_on_the_command_line(
    settings: Settings, world: Any, alice: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    alice.create_key()
    if settings.database_url is not None:
        monkeypatch.setenv("KEYSERVER_DATABASE_URL", settings.url)
    where = ["--data", str(settings.data)]
    assert cli.main(["audit", "erase", "alice", "--tenant", "default", *where]) == 0
    assert "0 grants and 1 keys name a pseudonym" in capsys.readouterr().out
    assert people_in(world) == {}
    assert cli.main(["audit", "erase", "alice", "--tenant", "default", *where]) == 2
    assert "nothing names alice" in capsys.readouterr().err
    assert cli.main(["audit", "reindex", "--again", *where]) == 0
    size = len(world.leaves())
    assert f"{size:,} of {size:,} entries are indexed" in capsys.readouterr().out


def test_sealed_fields_in_a_leaf_are_canonical_base64url(world: Any, alice: Any) -> None:
    alice.create_key()
    sealed = json.loads(world.leaves()[-1])["sealed"]
    assert encode_base64url(decode_base64url(sealed)) == sealed
    with world.ports.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(SubjectRow)) == 1
