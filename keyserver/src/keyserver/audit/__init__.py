"""The audit log: an RFC 6962 Merkle tree of canonical JSON entries, kept in the database."""

from keyserver.audit.entry import Entry, Outcome
from keyserver.audit.hiding import forget_content_keys
from keyserver.audit.log import (
    Appended,
    LogHead,
    LogSigner,
    Signer,
    append,
    append_all,
    checkpoint_of,
    current_checkpoint,
    prove_all_consistent,
    prove_consistency,
    prove_inclusion,
    proved_again,
    record_all,
    root_of,
)

__all__ = [
    "Appended",
    "Entry",
    "LogHead",
    "LogSigner",
    "Outcome",
    "Signer",
    "append",
    "append_all",
    "checkpoint_of",
    "current_checkpoint",
    "forget_content_keys",
    "prove_all_consistent",
    "prove_consistency",
    "prove_inclusion",
    "proved_again",
    "record_all",
    "root_of",
]
