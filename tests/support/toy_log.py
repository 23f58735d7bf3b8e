"""A log in memory that can be forked and cut, and what sinks are offered of it."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from faceseal.translog import Checkpoint, VerifierKey, leaf_hash, sign_checkpoint
from keyserver.audit import tree


class ToyLog:
    """`grow` adds entries; each size that it has had can be offered."""

    def __init__(self, origin: str = "log.example/1", private: Ed25519PrivateKey | None = None) -> None:
        self.private = private or Ed25519PrivateKey.generate()
        self.key = VerifierKey(origin, self.private.public_key().public_bytes_raw())
        self.nodes: dict[tree.Node, bytes] = {}
        self.size = 0

    def grow(self, *leaves: str) -> ToyLog:
        hashes = [leaf_hash(leaf.encode()) for leaf in leaves]
        self.nodes |= tree.grown(self.nodes, self.size, hashes)
        self.size += len(leaves)
        return self

    def grown_to(self, size: int, word: str = "entry") -> ToyLog:
        return self.grow(*(f"{word} {number}" for number in range(self.size, size)))

    def fork(self, at: int, size: int) -> ToyLog:
        """Another log with the same key, which is the same in its first `at` entries and has `size`."""
        return ToyLog(self.key.name, self.private).grown_to(at).grown_to(size, "other")

    def checkpoint(self, size: int | None = None) -> Checkpoint:
        size = self.size if size is None else size
        return Checkpoint(self.key.name, size, tree.range_hash((0, size), self.nodes))

    def note(self, size: int | None = None) -> str:
        return sign_checkpoint(self.checkpoint(size), self.private, self.key.name)

    def proof(self, old: int, size: int | None = None) -> list[bytes]:
        size = self.size if size is None else size
        return [tree.range_hash(part, self.nodes) for part in tree.consistency_path(old, size)]

    def offer(self, size: int | None = None) -> ToyOffer:
        return ToyOffer(self, self.size if size is None else size)


class ToyOffer:
    """See `keyserver.sinks.sink.Offer`."""

    def __init__(self, log: ToyLog, size: int) -> None:
        self._log = log
        self.checkpoint = log.checkpoint(size)
        self.note = log.note(size)
        self.keys: Sequence[VerifierKey] = (log.key,)

    def root_of(self, size: int) -> bytes:
        return self._log.checkpoint(size).root

    def proof_from(self, size: int) -> list[bytes]:
        return self._log.proof(size, self.checkpoint.size)
