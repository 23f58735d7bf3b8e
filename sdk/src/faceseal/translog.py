"""Verifying a transparency log: Merkle tree (RFC 6962) and signed checkpoint (C2SP).

Needs the standard library and cryptography only, and trusts nobody: neither the server nor
whoever exported the log.  All hashes are SHA-256, 32 bytes.

- leaf hash: SHA-256(0x00 || leaf); node hash: SHA-256(0x01 || left || right)
- checkpoint: https://c2sp.org/tlog-checkpoint inside https://c2sp.org/signed-note
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from faceseal.errors import TransparencyError

EMPTY_ROOT = hashlib.sha256(b"").digest()
_ED25519 = b"\x01"
"""Signature type of signed-note."""
_SIGNATURE_MARK = "— "


def leaf_hash(leaf: bytes) -> bytes:
    """RFC 6962, section 2.1."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """RFC 6962, section 2.1."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class RightEdge:
    """The roots of a growing tree's perfect subtrees: enough to append and to know the root.

    At size n it holds one hash per set bit of n, largest subtree first.
    """

    def __init__(self, size: int = 0, hashes: Iterable[bytes] = ()) -> None:
        self.size = size
        self.hashes = list(hashes)
        if len(self.hashes) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} perfect subtrees, not {len(self.hashes)}")

    def append(self, hashed_leaf: bytes) -> None:
        """Add one leaf hash."""
        carried, size = hashed_leaf, self.size
        while size & 1:
            carried = node_hash(self.hashes.pop(), carried)
            size >>= 1
        self.hashes.append(carried)
        self.size += 1

    def root(self) -> bytes:
        """Root hash (RFC 6962, section 2.1)."""
        if not self.hashes:
            return EMPTY_ROOT
        root = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            root = node_hash(left, root)
        return root


def root_from_inclusion(index: int, size: int, hashed_leaf: bytes, proof: Sequence[bytes]) -> bytes:
    """Root of the tree of `size` leaves whose leaf `index` has this hash (RFC 9162, 2.1.3.2).

    Raises TransparencyError if the proof has not exactly the length that it must have.
    """
    if not 0 <= index < size:
        raise TransparencyError(f"entry {index} cannot be in a log of {size} entries")
    node, last, root = index, size - 1, hashed_leaf
    for sibling in proof:
        if last == 0:
            raise TransparencyError("the inclusion proof is too long")
        if node & 1 or node == last:
            root = node_hash(sibling, root)
            while not node & 1 and node != 0:
                node >>= 1
                last >>= 1
        else:
            root = node_hash(root, sibling)
        node >>= 1
        last >>= 1
    if last != 0:
        raise TransparencyError("the inclusion proof is too short")
    return root


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Raises TransparencyError unless `leaf` is entry `index` of the tree with this root."""
    if not hmac.compare_digest(root_from_inclusion(index, size, leaf_hash(leaf), proof), root):
        raise TransparencyError(f"entry {index} is not in the log with this checkpoint")


def verify_consistency(old_size: int, size: int, proof: Sequence[bytes], old_root: bytes, root: bytes) -> None:
    """Raises TransparencyError unless the older tree is a prefix of the newer (RFC 9162, 2.1.4.2)."""
    if not 0 <= old_size <= size:
        raise TransparencyError(f"the log has shrunk from {old_size} to {size} entries")
    if old_size == 0 or old_size == size:
        expected = EMPTY_ROOT if old_size == 0 else root
        if proof or not hmac.compare_digest(old_root, expected):
            raise TransparencyError(f"the log of {size} entries does not continue the one of {old_size}")
        return
    path = list(proof)
    if old_size & (old_size - 1) == 0:
        path.insert(0, old_root)
    if not path:
        raise TransparencyError("the consistency proof is too short")
    node, last = old_size - 1, size - 1
    while node & 1:
        node >>= 1
        last >>= 1
    old, new = path[0], path[0]
    for sibling in path[1:]:
        if last == 0:
            raise TransparencyError("the consistency proof is too long")
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not node & 1 and node != 0:
                node >>= 1
                last >>= 1
        else:
            new = node_hash(new, sibling)
        node >>= 1
        last >>= 1
    if last != 0 or not hmac.compare_digest(old, old_root) or not hmac.compare_digest(new, root):
        raise TransparencyError(f"the log of {size} entries does not continue the one of {old_size}")


@dataclass(frozen=True)
class Checkpoint:
    """A log's name, size and root at one moment."""

    origin: str
    size: int
    root: bytes

    def body(self) -> str:
        """The signed text, ending in a newline."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


@dataclass(frozen=True)
class VerifierKey:
    """The public half of a log's signing key, written ``name+hash+base64`` (signed-note)."""

    name: str
    public: bytes

    @property
    def key_hash(self) -> bytes:
        """First four bytes of SHA-256(name || newline || type || key)."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_hash.hex()}+{base64.b64encode(_ED25519 + self.public).decode()}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Raises TransparencyError unless `text` is an Ed25519 verifier key."""
        parts = text.strip().split("+", 2)
        try:
            if len(parts) != 3:
                raise ValueError
            material = base64.b64decode(parts[2], validate=True)
            if len(material) != 33 or material[:1] != _ED25519 or not _usable_name(parts[0]):
                raise ValueError
            key = cls(parts[0], material[1:])
            if key.key_hash.hex() != parts[1]:
                raise ValueError
        except (ValueError, binascii.Error):
            raise TransparencyError("this is not a log's verifier key (name+hash+base64)") from None
        return key


def _usable_name(name: str) -> bool:
    return bool(name) and len(name) <= 200 and "+" not in name and not any(c.isspace() for c in name)


def sign_checkpoint(checkpoint: Checkpoint, private: Ed25519PrivateKey, name: str) -> str:
    """The checkpoint as a signed note."""
    key = VerifierKey(name, private.public_key().public_bytes_raw())
    body = checkpoint.body()
    signature = base64.b64encode(key.key_hash + private.sign(body.encode())).decode()
    return f"{body}\n{_SIGNATURE_MARK}{name} {signature}\n"


def open_checkpoint(note: str, key: VerifierKey) -> Checkpoint:
    """Parse a signed note and check its signature by `key`.

    Raises TransparencyError if the note is malformed, not signed by this key, or the
    signature does not fit.
    """
    body, separator, signatures = note.rpartition("\n\n")
    lines = signatures.split("\n")
    if not separator or len(note) > 4096 or lines[-1] != "" or len(lines) < 2:
        raise TransparencyError("the checkpoint is not a signed note")
    checkpoint = _parse_body(body + "\n")
    signed: bytes | None = None
    others = []
    for line in lines[:-1]:
        if not line.startswith(_SIGNATURE_MARK):
            raise TransparencyError("the checkpoint is not a signed note")
        name, _, encoded = line.removeprefix(_SIGNATURE_MARK).partition(" ")
        try:
            signature = base64.b64decode(encoded, validate=True)
        except (ValueError, binascii.Error):
            raise TransparencyError("the checkpoint has a malformed signature") from None
        if signed is None and name == key.name and signature[:4] == key.key_hash:
            signed = signature[4:]
        elif name == key.name and signature[:4] != key.key_hash:
            others.append(signature[:4].hex())
    if signed is None and others:
        raise TransparencyError(
            f"the checkpoint is not signed by {key.name} with the key {key.key_hash.hex()} that is trusted here, but "
            f"with {', '.join(others)}: the key was retired, or somebody forges the log.  Ask the server's operator, "
            "not the server, for the present verifier key; `log_key.rotate` in an older export names it as well"
        )
    if signed is None:
        raise TransparencyError(f"the checkpoint is not signed by {key.name}")
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(signed, (body + "\n").encode())
    except (InvalidSignature, ValueError):
        raise TransparencyError("the checkpoint's signature is wrong") from None
    return checkpoint


def _parse_body(body: str) -> Checkpoint:
    lines = body.split("\n")
    try:
        if len(lines) < 4 or not lines[0] or len(lines[1]) > 19 or not (lines[1].isascii() and lines[1].isdigit()):
            raise ValueError
        size, root = int(lines[1]), base64.b64decode(lines[2], validate=True)
        checkpoint = Checkpoint(lines[0], size, root)
        if len(root) != 32 or not body.startswith(checkpoint.body()):
            raise ValueError
    except (ValueError, binascii.Error):
        raise TransparencyError("the checkpoint's text is malformed") from None
    return checkpoint
