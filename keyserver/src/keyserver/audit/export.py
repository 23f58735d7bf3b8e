"""The log as a file, and checking such a file with nothing but the log's verifier key.

The file is JSON lines: first ``{"checkpoint": "<signed note>"}``, then one leaf a line, each
exactly the bytes that were hashed.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import rfc8785
from sqlalchemy.orm import Session

from faceseal.errors import TransparencyError
from faceseal.translog import Checkpoint, RightEdge, VerifierKey, leaf_hash, open_checkpoint
from keyserver.audit.log import Signer, current_checkpoint
from keyserver.store.log import leaves

MAX_LINE_BYTES = 64 * 1024
"""The longest entries name the 1,000 keys that the labels of a grant fit."""


def export_lines(session: Session, signer: Signer) -> Iterator[bytes]:
    """The file's lines, for a session whose transaction sees one moment; leaves are read in batches."""
    checkpoint = current_checkpoint(session)
    yield rfc8785.dumps({"checkpoint": signer.sign(checkpoint)}) + b"\n"
    for leaf in leaves(session, checkpoint.size):
        yield leaf.encode() + b"\n"


def verify_export(path: Path, key: VerifierKey) -> Checkpoint:
    """The checkpoint that the file's entries were proved against, in one pass and bounded memory.

    An entry that is dropped, added, moved or no longer canonical is named.  One that was
    rewritten in its place is not: no entry hashes another, only the root does, so the
    message says that the entries as a whole do not fit.

    Raises TransparencyError, and OSError if the file cannot be read.
    """
    with path.open("rb") as file:
        checkpoint = _read_checkpoint(file, key)
        edge = RightEdge()
        while line := _read_line(file, f"entry {edge.size}"):
            if edge.size == checkpoint.size:
                raise TransparencyError(f"entry {edge.size} is not covered by the checkpoint of {checkpoint.size}")
            _check_leaf(line, edge.size)
            edge.append(leaf_hash(line))
    if edge.size != checkpoint.size:
        raise TransparencyError(f"the export ends before entry {edge.size} of {checkpoint.size}")
    if not hmac.compare_digest(edge.root(), checkpoint.root):
        raise TransparencyError("the entries do not add up to the signed root: at least one was rewritten")
    return checkpoint


def _read_checkpoint(file: BinaryIO, key: VerifierKey) -> Checkpoint:
    try:
        first = json.loads(_read_line(file, "the first line"))
    except (ValueError, RecursionError):
        first = None
    if not isinstance(first, dict) or first.keys() != {"checkpoint"} or not isinstance(first["checkpoint"], str):
        raise TransparencyError("the first line does not hold a checkpoint")
    return open_checkpoint(first["checkpoint"], key)


def _read_line(file: BinaryIO, name: str) -> bytes:
    """One line without its newline; empty at the end of the file."""
    line = file.readline(MAX_LINE_BYTES + 1)
    if not line:
        return b""
    if not line.endswith(b"\n"):
        raise TransparencyError(f"{name} is cut off or longer than {MAX_LINE_BYTES} bytes")
    if line == b"\n":
        raise TransparencyError(f"{name} is empty")
    return line[:-1]


def _check_leaf(line: bytes, index: int) -> None:
    try:
        entry = json.loads(line)
        canonical = rfc8785.dumps(entry) == line
    except (ValueError, RecursionError):
        raise TransparencyError(f"entry {index} is not canonical JSON") from None
    if not canonical or not isinstance(entry, dict):
        raise TransparencyError(f"entry {index} is not canonical JSON")
    if entry.get("index") != index:
        raise TransparencyError(f"where entry {index} must be, the file has entry {entry.get('index')!r:.20}")
