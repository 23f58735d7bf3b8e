"""Cosignatures of witnesses on checkpoints: https://c2sp.org/tlog-cosignature, ``cosignature/v1``, Ed25519.

A cosignature says: as of this time, the largest tree that I have seen of the log with this
origin is the one of this checkpoint, and it continues all that I have seen before.  It is one
more signature line of the checkpoint's signed note:

- key ID: first 4 bytes of SHA-256(name || newline || 0x04 || public key)
- signature: time (8 bytes, big-endian seconds since 1970) || Ed25519 (64 bytes)
- signed: ``cosignature/v1\\ntime <seconds>\\n`` and the note's whole text

Needs the standard library and cryptography only.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from faceseal.errors import TransparencyError

LONGEST_NAME = 100
LONGEST_NOTE = 4096
"""Characters, with all signatures."""
_COSIGNATURE = b"\x04"
"""Signature type of signed-note."""
_MARK = "— "
_TIME_BYTES, _SIGNATURE_BYTES = 8, 64


@dataclass(frozen=True)
class WitnessKey:
    """The public half of a witness's key, written ``name+hash+base64`` like a log's, with the type 0x04."""

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        """Four bytes by which a signature line names the key."""
        return hashlib.sha256(self.name.encode() + b"\n" + _COSIGNATURE + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(_COSIGNATURE + self.public).decode()}"

    @classmethod
    def parse(cls, text: str) -> WitnessKey:
        """Raises TransparencyError unless `text` is a verifier key of Ed25519 cosignatures."""
        parts = text.strip().split("+", 2)
        try:
            if len(parts) != 3 or not usable_name(parts[0]):
                raise ValueError
            material = base64.b64decode(parts[2], validate=True)
            key = cls(parts[0], material[1:])
            if len(material) != 33 or material[:1] != _COSIGNATURE or key.key_id.hex() != parts[1]:
                raise ValueError
        except (ValueError, binascii.Error):
            raise TransparencyError("this is not a witness's verifier key (name+hash+base64, type 0x04)") from None
        return key


@dataclass(frozen=True)
class Cosignature:
    """One that was verified.  time: seconds since 1970, as the witness's clock said."""

    witness: WitnessKey
    time: int
    line: str
    """The signature line, with its newline."""


def usable_name(name: str) -> bool:
    """Whether a witness may be called so: 1 to 100 printable characters of ASCII, without space and plus sign."""
    return 0 < len(name) <= LONGEST_NAME and name.isascii() and name.isprintable() and not set(name) & {"+", " "}


def text_of(note: str) -> str:
    """The text that a note's signatures sign, with its last newline.

    Raises TransparencyError if it is not a signed note.
    """
    text, separator, signatures = note.rpartition("\n\n")
    if not separator or not text or not signatures.endswith("\n") or len(note) > LONGEST_NOTE:
        raise TransparencyError("the checkpoint is not a signed note")
    return text + "\n"


def cosign(text: str, private: Ed25519PrivateKey, name: str, time: int) -> str:
    """The signature line, with its newline, of a witness on a note with this text (see `text_of`)."""
    key = WitnessKey(name, private.public_key().public_bytes_raw())
    signature = time.to_bytes(_TIME_BYTES) + private.sign(_message(text, time))
    return f"{_MARK}{name} {base64.b64encode(key.key_id + signature).decode()}\n"


def cosignatures(text: str, lines: Iterable[str], keys: Iterable[WitnessKey]) -> list[Cosignature]:
    """What of the signature lines are cosignatures by these keys on this text; the newest one of each key.

    Lines of other keys say nothing and are left out.  Raises TransparencyError if a line by one
    of the keys does not fit, or is no signature line.
    """
    known = {(key.name, key.key_id): key for key in keys}
    found: dict[WitnessKey, Cosignature] = {}
    for line in lines:
        name, key_id, signature = _parsed(line)
        key = known.get((name, key_id))
        if key is None:
            continue
        one = _verified(text, key, signature, line)
        if key not in found or found[key].time < one.time:
            found[key] = one
    return list(found.values())


def cosignatures_of(note: str, keys: Iterable[WitnessKey]) -> list[Cosignature]:
    """The cosignatures that a note carries.  Raises TransparencyError."""
    return cosignatures(text_of(note), signature_lines(note), keys)


def signature_lines(note: str) -> list[str]:
    """The signature lines of a note, each with its newline.  Raises TransparencyError if it is no signed note."""
    text_of(note)
    return [f"{line}\n" for line in note.rpartition("\n\n")[2].removesuffix("\n").split("\n")]


def with_cosignatures(note: str, cosigned: Sequence[Cosignature]) -> str:
    """The note with these lines at its end, those that it does not have yet."""
    have = set(signature_lines(note))
    return note + "".join(one.line for one in cosigned if one.line not in have)


def merged(first: Iterable[Cosignature], second: Iterable[Cosignature]) -> list[Cosignature]:
    """The newest cosignature of each witness, in the order of their names."""
    newest: dict[WitnessKey, Cosignature] = {}
    for one in (*first, *second):
        if one.witness not in newest or newest[one.witness].time < one.time:
            newest[one.witness] = one
    by_name: Mapping[str, Cosignature] = {str(key): newest[key] for key in newest}
    return [by_name[name] for name in sorted(by_name)]


def _message(text: str, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()


def _parsed(line: str) -> tuple[str, bytes, bytes]:
    name, space, encoded = line.removeprefix(_MARK).removesuffix("\n").partition(" ")
    try:
        if not line.startswith(_MARK) or not line.endswith("\n") or not (name and space):
            raise ValueError
        signature = base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error):
        raise TransparencyError("there is a malformed signature line") from None
    return name, signature[:4], signature[4:]


def _verified(text: str, key: WitnessKey, signature: bytes, line: str) -> Cosignature:
    time = int.from_bytes(signature[:_TIME_BYTES])
    try:
        if len(signature) != _TIME_BYTES + _SIGNATURE_BYTES or time >= 1 << 63:
            raise ValueError
        Ed25519PublicKey.from_public_bytes(key.public).verify(signature[_TIME_BYTES:], _message(text, time))
    except (InvalidSignature, ValueError):
        raise TransparencyError(f"the cosignature of {key.name} is wrong") from None
    return Cosignature(key, time, line)
