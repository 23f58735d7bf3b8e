"""Whether what clients were told, what the database holds and what the audit log says is one story."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from image_keys import opened
from sqlalchemy import select

from faceseal.errors import TransparencyError
from faceseal.translog import RightEdge, VerifierKey, leaf_hash, open_checkpoint, verify_inclusion
from faceseal.wire import Receipt
from keyserver.audit.export import export_lines, verify_export
from keyserver.service.ports import Ports
from keyserver.store import log
from keyserver.store.tables import GrantRow, KeyRow


@dataclass(frozen=True)
class Given:
    """A release as its client saw it."""

    key_id: UUID
    grant_id: UUID
    image_key: bytes = field(repr=False)
    receipt: Receipt


@dataclass
class Told:
    """What clients were told by answers that arrived."""

    created: dict[UUID, bytes] = field(default_factory=dict, repr=False)
    granted: dict[UUID, int] = field(default_factory=dict)
    """Uses by grant."""
    given: list[Given] = field(default_factory=list)

    def add(self, other: Told) -> None:
        """Another client's."""
        self.created |= other.created
        self.granted |= other.granted
        self.given += other.given


def violations(ports: Ports, told: Told, export: Path) -> list[str]:
    """One line for each thing that does not fit.  Every client must have had its answers; `export` is a new file."""
    with ports.database.reading() as session:
        leaves = list(log.leaves(session, 1 << 40))
        kept = {row.id: row.uses_left for row in session.scalars(select(GrantRow))}
        key_ids = list(session.scalars(select(KeyRow.id)))
        with export.open("wb") as file:
            file.writelines(export_lines(session, ports.signer))
    entries = [json.loads(leaf) for leaf in leaves]
    return [
        *_of_the_tree(leaves, told, export, ports.signer.verifier_key),
        *_of_uses(entries, told, kept),
        *_of_releases(leaves, entries, told, ports.signer.verifier_key),
        *_of_keys(ports, entries, told, key_ids),
    ]


def _of_the_tree(leaves: list[str], told: Told, export: Path, key: VerifierKey) -> Iterator[str]:
    """The export proves itself, and every checkpoint that a client was shown is of the tree that grew into it."""
    try:
        if verify_export(export, key).size != len(leaves):
            yield "the export has another number of entries than the database"
    except TransparencyError as failure:
        yield f"the exported log does not verify: {failure}"
    shown = defaultdict(set)
    for one in told.given:
        checkpoint = open_checkpoint(one.receipt.checkpoint, key)
        shown[checkpoint.size].add(checkpoint.root)
    edge = RightEdge()
    for leaf in leaves:
        edge.append(leaf_hash(leaf.encode()))
        if shown.pop(edge.size, {edge.root()}) != {edge.root()}:
            yield f"a client was shown another tree of {edge.size} entries"
    yield from (f"a client was shown a tree of {size} entries, which there is not" for size in shown)


def _of_uses(entries: list[dict[str, Any]], told: Told, kept: dict[UUID, int]) -> Iterator[str]:
    uses = {UUID(each["grant"]): each["uses"] for each in entries if each["event"] == "grant.request.allowed"}
    taken = defaultdict(list)
    for entry in entries:
        if entry["event"] == "release.allowed":
            taken[UUID(entry["grant"])].append(entry["uses_left"])
    if kept.keys() != uses.keys():
        yield "grants in the database are not those that were requested"
    if uses != told.granted:
        yield "grants on record are not those that clients were given"
    for grant_id, left in kept.items():
        all_uses = uses.get(grant_id, 0)
        if left < 0 or taken[grant_id] != list(range(all_uses - 1, left - 1, -1)):
            yield f"grant {grant_id}: {all_uses} uses, {left} left, and entries that leave {taken[grant_id]}"


def _of_releases(leaves: list[str], entries: list[dict[str, Any]], told: Told, key: VerifierKey) -> Iterator[str]:
    """Each release that a client was given has an entry of its own, and each entry a client that was given it."""
    given = Counter(one.receipt.index for one in told.given)
    allowed = {entry["index"] for entry in entries if entry["event"] == "release.allowed"}
    yield from (f"entry {index} was shown for {count} releases" for index, count in given.items() if count > 1)
    yield from (f"entry {index} is of a release that nobody was given" for index in allowed - given.keys())
    for one in told.given:
        index = one.receipt.index
        if index not in allowed or leaves[index] != one.receipt.leaf:
            yield f"the receipt of entry {index} is not in the log"
            continue
        if (entries[index]["key"], entries[index]["grant"]) != (str(one.key_id), str(one.grant_id)):
            yield f"the receipt of entry {index} is about another release"
        checkpoint = open_checkpoint(one.receipt.checkpoint, key)
        proof = one.receipt.inclusion_proof
        try:
            verify_inclusion(index, checkpoint.size, leaves[index].encode(), proof, checkpoint.root)
        except TransparencyError as failure:
            yield f"the receipt of entry {index} proves nothing: {failure}"


def _of_keys(ports: Ports, entries: list[dict[str, Any]], told: Told, key_ids: list[UUID]) -> Iterator[str]:
    logged = [UUID(entry["key"]) for entry in entries if entry["event"] == "key.create.allowed"]
    if len(set(logged)) != len(logged) or set(logged) != set(key_ids):
        yield f"{len(logged)} keys are on record, and {len(key_ids)} in the database"
    if set(told.created) != set(key_ids):
        yield f"clients were given {len(told.created)} new keys, and {len(key_ids)} are in the database"
    keys = opened(ports, key_ids)
    if len(set(keys.values())) != len(keys):
        yield "there is a key twice"
    wrong = [key_id for key_id, key in told.created.items() if keys.get(key_id) != key]
    yield from (f"key {key_id} is not what its creator was given" for key_id in wrong)
    yield from (
        f"key {one.key_id} is not what was released" for one in told.given if keys.get(one.key_id) != one.image_key
    )
