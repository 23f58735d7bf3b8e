"""Verifying a transparency log: Merkle tree (RFC 6962), signed checkpoints (C2SP), and exported logs.

Needs the standard library and cryptography only, and trusts nobody: neither the server nor
whoever exported the log.  All hashes are SHA-256, 32 bytes.
"""

from faceseal.translog.canonical import canonical_object
from faceseal.translog.checkpoints import Checkpoint, open_checkpoint, sign_checkpoint
from faceseal.translog.exportformat import MAX_LINE_BYTES, export_lines
from faceseal.translog.notes import VerifierKey, open_note, sign_note
from faceseal.translog.proofs import root_from_inclusion, verify_consistency, verify_inclusion
from faceseal.translog.summary import Verified
from faceseal.translog.tree import EMPTY_ROOT, RightEdge, leaf_hash, node_hash, subtree_roots
from faceseal.translog.verifying import Progress, verify_export

__all__ = [
    "EMPTY_ROOT",
    "MAX_LINE_BYTES",
    "Checkpoint",
    "Progress",
    "RightEdge",
    "Verified",
    "VerifierKey",
    "canonical_object",
    "export_lines",
    "leaf_hash",
    "node_hash",
    "open_checkpoint",
    "open_note",
    "root_from_inclusion",
    "sign_checkpoint",
    "sign_note",
    "subtree_roots",
    "verify_consistency",
    "verify_export",
    "verify_inclusion",
]
