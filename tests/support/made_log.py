"""Logs of any content, in memory, and their exports: for whoever verifies them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from faceseal.translog import Checkpoint, VerifierKey, export_lines, leaf_hash, node_hash, sign_checkpoint
from keyserver.audit import tree

ORIGIN = "log.example"
LOG = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = VerifierKey(ORIGIN, LOG.public_key().public_bytes_raw())


def leaf(index: int, actor: str = "anna") -> bytes:
    """An entry of the usual form."""
    entry = {"actor": actor, "at": 1_800_000_000 + index, "event": "key.create.allowed", "index": index, "version": 1}
    return json.dumps(entry, separators=(",", ":"), sort_keys=True).encode()


@dataclass
class MadeLog:
    """Leaves, and all hashes of their tree by level."""

    leaves: Sequence[bytes]
    signer: Ed25519PrivateKey = LOG
    origin: str = ORIGIN
    levels: list[list[bytes]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.levels = [[leaf_hash(each) for each in self.leaves]]
        while len(below := self.levels[-1]) > 1:
            self.levels.append([node_hash(left, right) for left, right in zip(below[::2], below[1::2], strict=False)])

    def stored(self, level: int, position: int, count: int) -> list[bytes]:
        """As `export_lines` asks for it."""
        return self.levels[level][position : position + count]

    def edge(self, size: int) -> list[bytes]:
        """The roots of the perfect subtrees of the first `size` entries."""
        return [self.levels[level][position] for level, position in tree.perfect_subtrees((0, size))]

    def checkpoint(self, size: int | None = None) -> Checkpoint:
        """Of the first `size` entries, or all."""
        end = len(self.leaves) if size is None else size
        return Checkpoint(self.origin, end, self.hash_of((0, end)))

    def hash_of(self, leaves: tree.Range) -> bytes:
        """Root of a range, as `tree.inclusion_path` and `tree.consistency_path` name them."""
        return tree.range_hash(
            leaves, {(level, at): self.levels[level][at] for level, at in tree.perfect_subtrees(leaves)}
        )

    def note(self, size: int | None = None) -> str:
        """The same, signed."""
        return sign_checkpoint(self.checkpoint(size), self.signer, self.origin)

    def export(self, first: int = 0, size: int | None = None) -> list[bytes]:
        """The lines of a file of version 2."""
        end = len(self.leaves) if size is None else size
        return list(export_lines(self.note(end), end, self.edge(end), self.leaves[first:end], self.stored, first))

    def plain_export(self) -> list[bytes]:
        """The lines of a file of version 1."""
        head = json.dumps({"checkpoint": self.note()}, ensure_ascii=False, separators=(",", ":")).encode()
        return [line + b"\n" for line in (head, *self.leaves)]


def made_log(size: int, make: Callable[[int], bytes] = leaf) -> MadeLog:
    """A log of so many entries of the usual form."""
    return MadeLog([make(index) for index in range(size)])


def written(path: Path, lines: Iterable[bytes]) -> Path:
    """The file with these lines."""
    path.write_bytes(b"".join(lines))
    return path
