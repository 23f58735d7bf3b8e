"""An exported log in the hands of somebody who would like it to say something else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from administrator import take_guard_away
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import text

from faceseal.errors import TransparencyError
from faceseal.translog import Checkpoint, RightEdge, VerifierKey, leaf_hash
from keyserver.audit import LogSigner
from keyserver.audit.export import MAX_LINE_BYTES, export_lines, verify_export
from keyserver.store.tables import EntryRow

DATABASE_KINDS = ["sqlite"]
"""A file is a file; that PostgreSQL exports one too is tested with the log."""
ENTRIES = 12


@pytest.fixture
def exported(world: Any, tmp_path: Path) -> Path:
    alice = world.person("alice")
    while len(world.leaves()) < ENTRIES:
        alice.create_key()
    return write(world, tmp_path / "log.jsonl")


def write(world: Any, path: Path, first: int = 0) -> Path:
    with world.ports.database.reading() as session, path.open("wb") as file:
        file.writelines(export_lines(session, world.ports.signer, first))
    return path


def as_version_1(lines: list[bytes]) -> list[bytes]:
    """What the server's first version exported: no hashes."""
    return [rfc8785.dumps({"checkpoint": json.loads(lines[0])["checkpoint"]}) + b"\n", *lines[2:]]


@pytest.fixture
def key(world: Any) -> VerifierKey:
    verifier_key: VerifierKey = world.ports.signer.verifier_key
    return verifier_key


def test_an_honest_export_is_proved(exported: Path, key: VerifierKey) -> None:
    assert verify_export(exported, key).size == ENTRIES
    lines = exported.read_bytes().splitlines()
    assert len(lines) == ENTRIES + 2
    assert [json.loads(line)["index"] for line in lines[2:]] == list(range(ENTRIES))


def test_an_export_may_leave_out_the_oldest_entries(world: Any, exported: Path, key: VerifierKey) -> None:
    late = verify_export(write(world, exported.with_name("late.jsonl"), first=5), key)
    assert (late.first, late.size, sum(late.events.values())) == (5, ENTRIES, ENTRIES - 5)


def test_an_entry_that_was_altered_in_the_database_is_named_by_whoever_verifies_the_export(
    world: Any, exported: Path, key: VerifierKey
) -> None:
    with world.ports.database.writing() as session:
        altered = session.get_one(EntryRow, 7).leaf.replace("allowed", "denied")
        take_guard_away(session)
        session.execute(text("UPDATE audit_entries SET leaf = :leaf WHERE entry_index = 7"), {"leaf": altered})
    with pytest.raises(TransparencyError, match="entry 7 was altered"):
        verify_export(write(world, exported.with_name("altered.jsonl")), key)


def renumbered(line: bytes, index: int) -> bytes:
    return rfc8785.dumps({**json.loads(line), "index": index}) + b"\n"


def without(lines: list[bytes]) -> list[bytes]:
    return lines[:6] + lines[7:]


def without_and_renumbered(lines: list[bytes]) -> list[bytes]:
    return lines[:6] + [renumbered(line, index) for index, line in enumerate(lines[7:], 5)]


def swapped(lines: list[bytes]) -> list[bytes]:
    return [*lines[:4], lines[5], lines[4], *lines[6:]]


def swapped_and_renumbered(lines: list[bytes]) -> list[bytes]:
    return [*lines[:4], renumbered(lines[5], 3), renumbered(lines[4], 4), *lines[6:]]


def rewritten(lines: list[bytes]) -> list[bytes]:
    return [*lines[:5], lines[5].replace(b'"at":', b'"at":1'), *lines[6:]]


def reformatted(lines: list[bytes]) -> list[bytes]:
    return [*lines[:5], lines[5].replace(b":", b": ", 1), *lines[6:]]


def not_json(lines: list[bytes]) -> list[bytes]:
    return [*lines[:5], b"\xff\n", *lines[6:]]


def truncated(lines: list[bytes]) -> list[bytes]:
    return lines[:-3]


def cut_off(lines: list[bytes]) -> list[bytes]:
    return [*lines[:-1], lines[-1][:-1]]


def lengthened(lines: list[bytes]) -> list[bytes]:
    return [*lines, renumbered(lines[-1], ENTRIES)]


def doubled(lines: list[bytes]) -> list[bytes]:
    return [*lines[:5], lines[4], *lines[5:]]


def spaced(lines: list[bytes]) -> list[bytes]:
    return [*lines[:5], b"\n", *lines[5:]]


def swollen(lines: list[bytes]) -> list[bytes]:
    return [*lines[:5], b'"' + b"a" * MAX_LINE_BYTES + b'"\n', *lines[6:]]


def headless(lines: list[bytes]) -> list[bytes]:
    return lines[1:]


def emptied(_: list[bytes]) -> list[bytes]:
    return []


def nested(_: list[bytes]) -> list[bytes]:
    return [b"[" * 9000 + b"\n"]


def truncated_with_its_checkpoint(lines: list[bytes]) -> list[bytes]:
    return [lines[0].replace(b"\\n12\\n", b"\\n11\\n"), *lines[1:-1]]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (without, "where entry 5 must be, the file has entry 6"),
        (without_and_renumbered, "the export ends before entry 11 of 12|entry 5 was altered"),
        (swapped, "where entry 3 must be, the file has entry 4"),
        (swapped_and_renumbered, "at least one was rewritten|entry 3 was altered"),
        (rewritten, "at least one was rewritten|entry 4 was altered"),
        (reformatted, "entry 4 is not canonical JSON"),
        (not_json, "entry 4 is not canonical JSON"),
        (truncated, "the export ends before entry 9 of 12"),
        (cut_off, "entry 11 is cut off"),
        (lengthened, "entry 12 is not covered by the checkpoint of 12"),
        (doubled, "where entry 4 must be, the file has entry 3"),
        (spaced, "entry 4 is empty"),
        (swollen, "entry 4 is cut off or longer"),
        (headless, "the first line does not hold a checkpoint"),
        (emptied, "the first line does not hold a checkpoint"),
        (nested, "the first line does not hold a checkpoint"),
        (truncated_with_its_checkpoint, "signature is wrong"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_tampered_export_is_refused_and_where_possible_the_entry_named(
    exported: Path, key: VerifierKey, tamper: Callable[[list[bytes]], list[bytes]], message: str, version: int
) -> None:
    head, hashes, *entries = exported.read_bytes().splitlines(keepends=True)
    honest = [head, *entries] if version == 2 else as_version_1([head, hashes, *entries])
    forged = tamper(honest)
    assert forged != honest
    if version == 2 and forged[:1] != entries[:1]:
        forged = [*forged[:1], hashes, *forged[1:]]
    exported.write_bytes(b"".join(forged))
    with pytest.raises(TransparencyError, match=message):
        verify_export(exported, key)


def test_a_rewritten_log_that_another_key_signed_is_refused(exported: Path, key: VerifierKey) -> None:
    head, hashes, *entries = exported.read_bytes().splitlines(keepends=True)
    lines = rewritten(as_version_1([head, hashes, *entries]))
    edge = RightEdge()
    for line in lines[1:]:
        edge.append(leaf_hash(line[:-1]))
    forger = LogSigner(Ed25519PrivateKey.generate(), key.name)
    note = forger.sign(Checkpoint(key.name, edge.size, edge.root()))
    exported.write_bytes(rfc8785.dumps({"checkpoint": note}) + b"\n" + b"".join(lines[1:]))

    assert verify_export(exported, forger.verifier_key).size == ENTRIES
    with pytest.raises(TransparencyError, match="not signed by"):
        verify_export(exported, key)
