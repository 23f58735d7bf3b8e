"""Appending to the log and proving what is in it.  Every function costs O(log n).

What entries say of people is sealed to them (see `personal`), and all are added to the index,
by which they are found (see `indexing`).

`append` runs in the transaction of the effect that it records: either both are on disk or
neither.  Checkpoints are signed only after the commit, so that none is ever signed for a
tree that was rolled back.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.orm import Session

from faceseal.translog import Checkpoint, VerifierKey, leaf_hash, sign_checkpoint
from keyserver.audit import indexing, tree
from keyserver.audit.entry import Entry
from keyserver.audit.hiding import hide
from keyserver.audit.people import people_of
from keyserver.errors import SetupError
from keyserver.store import log as rows
from keyserver.store.memory import memory_of, set_appended
from keyserver.store.tables import LogRow


@dataclass(frozen=True, eq=False)
class LogHead(Checkpoint):
    """A checkpoint to be signed, and the public keys that are to sign it, oldest first.

    They are read in the transaction that the checkpoint is of.  Equal to any checkpoint with the same text.
    """

    keys: tuple[bytes, ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Checkpoint) and self.body() == other.body()

    def __hash__(self) -> int:
        return hash((self.origin, self.size, self.root))


@dataclass(frozen=True)
class Appended:
    """A new entry, its inclusion proof, and the unsigned checkpoint that it leads to."""

    leaf: str
    index: int
    inclusion_proof: list[bytes]
    checkpoint: LogHead


class Signer(Protocol):
    """What signs checkpoints: one key, or those of an installation (see `logkeys`)."""

    def sign(self, head: LogHead, /) -> str:
        """The checkpoint as a signed note.  To be called for committed trees only."""
        ...


class LogSigner:
    """Signs checkpoints with one key; the log's origin is the signature's name as well."""

    def __init__(self, private: Ed25519PrivateKey, origin: str) -> None:
        self._private = private
        self.verifier_key = VerifierKey(origin, private.public_key().public_bytes_raw())

    def sign(self, checkpoint: Checkpoint) -> str:
        """The checkpoint as a signed note.  To be called for committed trees only."""
        return sign_checkpoint(checkpoint, self._private, self.verifier_key.name)


def start(session: Session, origin: str, public_key: bytes) -> None:
    """Create the empty log."""
    session.add(LogRow(id=1, origin=origin, public_key=public_key, size=0, indexed=0))
    session.flush()


def append(session: Session, entry: Entry) -> Appended:
    """Add an entry in the session's transaction; waits while another one appends."""
    (appended,) = append_all(session, [entry])
    return appended


def append_all(session: Session, entries: Sequence[Entry]) -> list[Appended]:
    """Add entries, in their order, in the session's transaction; waits while another one appends.

    Takes as many statements for many as for one.  All are proved against one checkpoint,
    that of the tree which ends with the last of them.
    """
    grown = _append(session, entries)
    return [
        Appended(
            leaf,
            index,
            [tree.range_hash(part, grown.known) for part in tree.inclusion_path(index, grown.checkpoint.size)],
            grown.checkpoint,
        )
        for index, leaf in enumerate(grown.leaves, start=grown.first)
    ]


def record_all(session: Session, entries: Sequence[Entry]) -> None:
    """Like `append_all`, for whom nobody asks for proofs: of a thousand entries they take longer than all else."""
    _append(session, entries)


@dataclass(frozen=True)
class _Grown:
    """The new leaves, the number of the first, the hashes that were read or made, and where the tree is now."""

    leaves: list[str]
    first: int
    known: dict[tree.Node, bytes]
    checkpoint: LogHead


def _append(session: Session, entries: Sequence[Entry]) -> _Grown:
    # Sealed before it is our turn: nobody waits for it.
    hidden = hide(entries, people_of(session, entries))
    head = rows.head_for_append(session)
    first, size = head.size, head.size + len(entries)
    numbered = list(zip(range(first, size), entries, hidden, strict=True))
    leaves = [entry.leaf(index, sealed) for index, entry, sealed in numbered]
    # Under the head's lock: whatever this replica remembers by now was committed before.
    memory = memory_of(session)
    remembered = memory.remembered() if memory is not None else None
    # Of the tree so far, new hashes and proofs need its right edge; the comparison, what was the edge before.
    edges = {*tree.perfect_subtrees((0, first))}
    if remembered is not None and remembered.size <= first:
        edges.update(tree.perfect_subtrees((0, remembered.size)))
    known = dict(rows.nodes(session, edges))
    continues = memory is None or remembered is None or memory.compare(remembered, first, partial(_root_in, known))
    made = tree.grown(known, first, [leaf_hash(leaf.encode()) for leaf in leaves])
    rows.add(session, first, leaves, made)
    indexing.add(session, [indexing.of_entry(entry, number, sealed) for number, entry, sealed in numbered])
    if head.indexed == first:
        head.indexed = size
    head.size = size
    session.flush()
    known |= made
    grown = _at(head, size, tree.range_hash((0, size), known))
    if continues:
        set_appended(session, grown)
    return _Grown(leaves, first, known, grown)


def _root_in(nodes: Mapping[tree.Node, bytes], size: int) -> bytes | None:
    try:
        return tree.range_hash((0, size), nodes)
    except KeyError:
        return None


def proved_again(session: Session, index: int, size: int) -> Appended:
    """Entry `index` as it was when it was the tree of `size` entries that was committed with it."""
    checkpoint = checkpoint_of(session, size)
    return Appended(rows.leaf(session, index), index, prove_inclusion(session, index, size), checkpoint)


def checkpoint_of(session: Session, size: int) -> LogHead:
    """The unsigned checkpoint of the first `size` entries, which there are, to be signed by the keys now in force."""
    return _at(_head(session), size, root_of(session, size))


def root_of(session: Session, size: int) -> bytes:
    """Root hash of the first `size` entries, which there are."""
    return _hashes(session, [(0, size)])[0]


def prove_inclusion(session: Session, index: int, size: int) -> list[bytes]:
    """Proof that entry `index` is in the tree of the first `size` entries (RFC 6962, 2.1.1).

    Raises ValueError if there is no such entry.
    """
    return _hashes(session, tree.inclusion_path(index, size))


def prove_consistency(session: Session, old_size: int, size: int) -> list[bytes]:
    """Proof that the tree of `size` entries continues the one of `old_size` (RFC 6962, 2.1.2).

    Raises ValueError unless ``0 <= old_size <= size``.
    """
    return _hashes(session, tree.consistency_path(old_size, size))


def prove_all_consistent(session: Session, pairs: Collection[tuple[int, int]]) -> dict[tuple[int, int], list[bytes]]:
    """`prove_consistency` for many (old size, size), with one query."""
    paths = {(old_size, size): tree.consistency_path(old_size, size) for old_size, size in pairs}
    ranges = list({part for path in paths.values() for part in path})
    found = dict(zip(ranges, _hashes(session, ranges), strict=True))
    return {pair: [found[part] for part in path] for pair, path in paths.items()}


def current_checkpoint(session: Session) -> LogHead:
    """The unsigned checkpoint of everything that is committed.  Raises SetupError before the log is started."""
    head = _head(session)
    return _at(head, head.size, _hashes(session, [(0, head.size)])[0])


def _at(head: LogRow, size: int, root: bytes) -> LogHead:
    return LogHead(head.origin, size, root, rows.signing_keys(head))


def _head(session: Session) -> LogRow:
    head = rows.head(session)
    if head is None:
        raise SetupError("the audit log was never started; run: keyserver init")
    return head


def _hashes(session: Session, ranges: Sequence[tree.Range]) -> list[bytes]:
    wanted = {node for leaves in ranges for node in tree.perfect_subtrees(leaves)}
    stored = rows.nodes(session, wanted)
    return [tree.range_hash(leaves, stored) for leaves in ranges]
