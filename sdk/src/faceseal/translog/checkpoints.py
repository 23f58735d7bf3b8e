"""Signed checkpoints of a log: its name, size and root at one moment (https://c2sp.org/tlog-checkpoint)."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from faceseal.errors import TransparencyError
from faceseal.translog.notes import VerifierKey, open_note, sign_note


@dataclass(frozen=True)
class Checkpoint:
    """A log's name, size and root at one moment."""

    origin: str
    size: int
    root: bytes

    def body(self) -> str:
        """The signed text, ending in a newline."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    def __str__(self) -> str:
        """One line for people."""
        return f"{self.origin}, {self.size} entries, root {base64.b64encode(self.root).decode()}"


def sign_checkpoint(checkpoint: Checkpoint, private: Ed25519PrivateKey, name: str) -> str:
    """The checkpoint as a signed note."""
    return sign_note(checkpoint.body(), private, name)


def open_checkpoint(note: str, key: VerifierKey) -> Checkpoint:
    """Parse a signed note and check its signature by `key`.

    Raises TransparencyError if the note is malformed, not signed by this key, or the
    signature does not fit.
    """
    return _parse_body(open_note(note, key))


def _parse_body(body: str) -> Checkpoint:
    lines = body.split("\n")
    try:
        if len(lines) < 4 or not lines[0] or len(lines[1]) > 19 or not (lines[1].isascii() and lines[1].isdigit()):
            raise ValueError
        size, root = int(lines[1]), base64.b64decode(lines[2], validate=True)
        checkpoint = Checkpoint(lines[0], size, root)
        if len(root) != 32 or "" in lines[3:-1] or not body.startswith(checkpoint.body()):
            raise ValueError
    except (ValueError, binascii.Error):
        raise TransparencyError("the checkpoint's text is malformed") from None
    return checkpoint
