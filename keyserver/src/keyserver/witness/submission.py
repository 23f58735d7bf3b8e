"""What is posted to a witness: ``old SIZE``, the consistency proof, an empty line, the signed checkpoint.

Written and read as https://c2sp.org/tlog-witness says, `add-checkpoint`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass

MOST_PROOF_LINES = 63
MOST_BYTES = 8192
"""Of a submission: the old size, 63 hashes of 45 characters, and a note of 4096."""
SIZE_MEDIA_TYPE = "text/x.tlog.size"
_HASH_BYTES = 32
_MOST_DIGITS = 19


class Malformed(ValueError):
    """It is not what a witness is posted."""


@dataclass(frozen=True)
class Submission:
    """A checkpoint (signed note), and the proof that it continues the tree of `old_size` entries (RFC 6962, 2.1.2)."""

    old_size: int
    proof: Sequence[bytes]
    note: str

    def encoded(self) -> bytes:
        """The request's body."""
        proof = "".join(f"{base64.b64encode(each).decode()}\n" for each in self.proof)
        return f"old {self.old_size}\n{proof}\n{self.note}".encode()

    @classmethod
    def parse(cls, body: bytes) -> Submission:
        """Raises Malformed."""
        if len(body) > MOST_BYTES:
            raise Malformed("the request is too long")
        try:
            text = body.decode()
        except UnicodeDecodeError:
            raise Malformed("the request is no text") from None
        head, separator, note = text.partition("\n\n")
        first, *hashes = head.split("\n")
        if not separator or not first.startswith("old ") or len(hashes) > MOST_PROOF_LINES:
            raise Malformed("the request has no old size, or no checkpoint, or too long a proof")
        return cls(parse_size(first.removeprefix("old ")), [_hash(line) for line in hashes], note)


def parse_size(text: str) -> int:
    """A tree's size in decimal, without leading zeroes.  Raises Malformed."""
    if not (0 < len(text) <= _MOST_DIGITS and text.isascii() and text.isdigit()) or str(int(text)) != text:
        raise Malformed("this is not the size of a tree")
    return int(text)


def _hash(line: str) -> bytes:
    try:
        found = base64.b64decode(line, validate=True)
    except (ValueError, binascii.Error):
        raise Malformed("a line of the proof is no base64") from None
    if len(found) != _HASH_BYTES or base64.b64encode(found).decode() != line:
        raise Malformed("a line of the proof is no hash")
    return found
