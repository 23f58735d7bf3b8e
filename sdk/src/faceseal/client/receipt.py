"""Checking that a release is in the key server's audit log: before the key is used, and whenever somebody asks.

A receipt is stored as JSON, as the server sent it, but without the proof that was for one client
alone.  It holds no secret: the entry, where it is in the log, and what proves that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from faceseal import translog, wire
from faceseal.client.parse import parse_message
from faceseal.errors import TransparencyError

RELEASE_EVENT = "release.allowed"
MAX_RECEIPT_BYTES = 64 * 1024
VERSIONS = (1, 2)
"""Of entries.  Since the second, what is personal is sealed, which leaves all that is compared here in the clear."""


@dataclass(frozen=True)
class ProvedEntry:
    """An entry of a log, and the checkpoint that it was proved against."""

    entry: Mapping[str, object]
    index: int
    checkpoint: translog.Checkpoint


def prove_entry(receipt: wire.Receipt, log_key: translog.VerifierKey) -> ProvedEntry:
    """What a receipt proves to be in the log (RFC 6962, section 2.1.1).

    Raises TransparencyError unless the checkpoint is this log's and signed by `log_key`, and the entry is in the log
    with that checkpoint, canonical, and where it says that it is.
    """
    checkpoint = translog.open_checkpoint(receipt.checkpoint, log_key)
    if checkpoint.origin != log_key.name:
        raise TransparencyError("the receipt's checkpoint is another log's")
    leaf = receipt.leaf.encode()
    translog.verify_inclusion(receipt.index, checkpoint.size, leaf, receipt.inclusion_proof, checkpoint.root)
    try:
        entry = translog.canonical_object(leaf)
    except ValueError:
        raise TransparencyError("the receipt is not about this release: its entry is not canonical JSON") from None
    if entry.get("index") != receipt.index:
        raise TransparencyError("the receipt is not about this release: its entry has another number")
    return ProvedEntry(entry, receipt.index, checkpoint)


def verify_receipt(
    receipt: wire.Receipt, key_id: UUID, grant_id: UUID, recipient: bytes, log_key: translog.VerifierKey
) -> translog.Checkpoint:
    """The checkpoint that the receipt proves the release against.

    `recipient` is the X25519 public key (32 bytes) made for this one release: it keeps a server
    from answering a second release with the first one's receipt.

    Raises TransparencyError as `prove_entry` does, and unless the entry is this very release.
    """
    proved = prove_entry(receipt, log_key)
    if not _is_release(proved.entry, key_id, grant_id, recipient):
        raise TransparencyError("the receipt is not about this release")
    return proved.checkpoint


def receipt_matches(leaf: bytes, index: int, key_id: UUID, grant_id: UUID, recipient: bytes) -> bool:
    """Whether a log entry is canonical JSON (RFC 8785) and says: this key, this grant, to this recipient."""
    try:
        entry = translog.canonical_object(leaf)
    except ValueError:
        return False
    return entry.get("index") == index and _is_release(entry, key_id, grant_id, recipient)


def _is_release(entry: Mapping[str, object], key_id: UUID, grant_id: UUID, recipient: bytes) -> bool:
    if type(entry.get("version")) is not int or entry["version"] not in VERSIONS:
        return False
    expected = {
        "event": RELEASE_EVENT,
        "key": str(key_id),
        "grant": str(grant_id),
        "recipient": wire.encode_base64url(recipient),
    }
    return expected.items() <= entry.items()


def receipt_path(output: Path) -> Path:
    """Where the receipt of a restored photo is kept: beside it."""
    return output.with_name(output.name + ".receipt.json")


def stored_receipt(receipt: wire.Receipt) -> bytes:
    """As it is stored."""
    kept = receipt.model_copy(update={"consistency_proof": None})
    return kept.model_dump_json(indent=1).encode() + b"\n"


def read_receipt(data: bytes) -> wire.Receipt:
    """Inverse of `stored_receipt`.  Raises TransparencyError."""
    try:
        if len(data) > MAX_RECEIPT_BYTES:
            raise ValueError
        return parse_message(wire.Receipt, data)
    except ValueError:
        raise TransparencyError("this is not a receipt that was stored with a restored photo") from None
