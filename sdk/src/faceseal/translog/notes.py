"""Signed notes (https://c2sp.org/signed-note) with Ed25519, and the keys that verify them."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from faceseal.errors import TransparencyError

MAX_NOTE = 4096
"""Characters: a checkpoint and some twenty signatures."""
_ED25519 = b"\x01"
"""Signature type of signed-note."""
_SIGNATURE_MARK = "— "


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


def sign_note(text: str, private: Ed25519PrivateKey, name: str) -> str:
    """The text, which ends in a newline, with a signature line of this name."""
    key = VerifierKey(name, private.public_key().public_bytes_raw())
    signature = base64.b64encode(key.key_hash + private.sign(text.encode())).decode()
    return f"{text}\n{_SIGNATURE_MARK}{name} {signature}\n"


def open_note(note: str, key: VerifierKey) -> str:
    """The text that `key` has signed.  Signatures of others, cosignatures among them, are not looked at.

    Raises TransparencyError if the note is malformed, not signed by this key, or the
    signature does not fit.
    """
    body, separator, signatures = note.rpartition("\n\n")
    lines = signatures.split("\n")
    if not separator or len(note) > MAX_NOTE or lines[-1] != "" or len(lines) < 2 or not _printable(note):
        raise TransparencyError("the checkpoint is not a signed note")
    text = body + "\n"
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
        Ed25519PublicKey.from_public_bytes(key.public).verify(signed, text.encode())
    except (InvalidSignature, ValueError):
        raise TransparencyError("the checkpoint's signature is wrong") from None
    return text


def _printable(note: str) -> bool:
    """Valid text without control characters, as the format wants it."""
    try:
        note.encode()
    except UnicodeEncodeError:
        return False
    return all(character >= " " or character == "\n" for character in note)
