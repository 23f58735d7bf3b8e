"""Checking that a release is in the key server's audit log, before the key is used."""

from __future__ import annotations

import json
from uuid import UUID

from faceseal import translog, wire
from faceseal.client.parse import strict_json
from faceseal.errors import TransparencyError

RELEASE_EVENT = "release.allowed"
VERSIONS = (1, 2)
"""Of entries.  Since the second, what is personal is sealed, which leaves all that is compared here in the clear."""


def verify_receipt(
    receipt: wire.Receipt, key_id: UUID, grant_id: UUID, recipient: bytes, log_key: translog.VerifierKey
) -> translog.Checkpoint:
    """The checkpoint that the receipt proves the release against (RFC 6962, section 2.1.1).

    `recipient` is the X25519 public key (32 bytes) made for this one release: it keeps a server
    from answering a second release with the first one's receipt.

    Raises TransparencyError unless the checkpoint is this log's and signed by `log_key`, the
    entry is in the log with that checkpoint, and the entry is this very release.
    """
    checkpoint = translog.open_checkpoint(receipt.checkpoint, log_key)
    if checkpoint.origin != log_key.name:
        raise TransparencyError("the receipt's checkpoint is another log's")
    leaf = receipt.leaf.encode()
    translog.verify_inclusion(receipt.index, checkpoint.size, leaf, receipt.inclusion_proof, checkpoint.root)
    if not receipt_matches(leaf, receipt.index, key_id, grant_id, recipient):
        raise TransparencyError("the receipt is not about this release")
    return checkpoint


def receipt_matches(leaf: bytes, index: int, key_id: UUID, grant_id: UUID, recipient: bytes) -> bool:
    """Whether a log entry is canonical JSON (RFC 8785) and says: this key, this grant, to this recipient."""
    try:
        entry = strict_json(leaf)
        canonical = json.dumps(entry, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
    except (ValueError, RecursionError):
        return False
    if not isinstance(entry, dict) or type(entry.get("version")) is not int or entry["version"] not in VERSIONS:
        return False
    expected = {
        "index": index,
        "event": RELEASE_EVENT,
        "key": str(key_id),
        "grant": str(grant_id),
        "recipient": wire.encode_base64url(recipient),
    }
    # Sorting by code point and RFC 8785's by UTF-16 unit agree on the log's member names, which are ASCII.
    return canonical == leaf and expected.items() <= entry.items()


def verify_continues(older: translog.Checkpoint | None, newer: translog.Checkpoint) -> None:
    """What can be told without a consistency proof: the log has not shrunk, nor changed at one size.

    Raises TransparencyError.
    """
    if older is None:
        return
    if newer.size < older.size or (newer.size == older.size and newer.root != older.root):
        raise TransparencyError(f"the audit log of {newer.size} entries does not continue the one of {older.size}")
