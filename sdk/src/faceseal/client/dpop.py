"""The client's own key, and its proofs that the client holds it (DPoP, RFC 9449).

A token or a grant that is bound to the key's thumbprint is of no use to whoever steals it
without the key.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import stat
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from faceseal.durable import sync_folder
from faceseal.errors import ClientKeyError, ServerMisbehaved
from faceseal.wire import encode_base64url

MAX_FILE_BYTES = 4096
_JTI_BYTES = 18
_NONCE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,128}")
"""What RFC 9449, section 8.1, allows in a nonce, and no more of it than is reasonable."""
_WITHOUT_HINDRANCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
"""Opening a named pipe must not wait for its other end."""


class DpopKey:
    """An Ed25519 key that signs DPoP proofs.  Shows its thumbprint, and the key itself only to `save`."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        public = encode_base64url(private.public_key().public_bytes_raw())
        # In the order and spelling that RFC 7638 hashes.
        self._jwk = {"crv": "Ed25519", "kty": "OKP", "x": public}
        self.thumbprint = encode_base64url(_sha256(_compact(self._jwk)))
        """RFC 7638, 43 characters: what tokens and grants are bound to (`cnf.jkt`)."""

    def __repr__(self) -> str:
        return f"DpopKey(thumbprint={self.thumbprint!r})"

    @classmethod
    def generate(cls) -> DpopKey:
        """A new key."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path | str) -> DpopKey:
        """The key of a file that `save` wrote.

        Raises ClientKeyError if it cannot be read, is open to others than its owner, or does
        not hold an unencrypted Ed25519 key (PKCS #8, PEM).
        """
        path = Path(path)
        data = _read_private(path)
        try:
            private = load_pem_private_key(data, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            private = None
        if not isinstance(private, Ed25519PrivateKey):
            raise ClientKeyError(f"{path} does not hold an unencrypted Ed25519 key; restore it, or make a new one")
        return cls(private)

    def save(self, path: Path | str) -> None:
        """Write the key to a new file (PKCS #8, PEM, mode 0600), whole or not at all.

        Raises ClientKeyError if it cannot be written, or if there is a file: tokens and
        grants may be bound to its key.
        """
        path = Path(path)
        data = self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        try:
            # Made with mode 0600, and under a name that nobody can guess.
            descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                # Unlike a rename, this never replaces a file.
                path.hardlink_to(name)
            finally:
                Path(name).unlink(missing_ok=True)
            sync_folder(path.parent)
        except FileExistsError:
            raise ClientKeyError(f"{path} is there already; load it, or choose another file") from None
        except OSError as cause:
            raise ClientKeyError(f"cannot write the key {path}: {cause.strerror}") from None

    def proof(self, method: str, url: str, access_token: str, now: int, nonce: str | None = None) -> str:
        """A proof for one request with this token, never to be sent twice; `now` in seconds since 1970.

        `nonce` is the latest one that the server sent.  Raises ServerMisbehaved if it is none
        that RFC 9449 allows, and ValueError for a URL that is not http(s) or names a user.
        """
        if nonce is not None and not _NONCE.fullmatch(nonce):
            raise ServerMisbehaved("the key server sent a DPoP nonce that is not one; ask its operator")
        return self._proof(method, url, access_token, now, nonce, encode_base64url(secrets.token_bytes(_JTI_BYTES)))

    def _proof(self, method: str, url: str, access_token: str, now: int, nonce: str | None, jti: str) -> str:
        claims: dict[str, str | int] = {
            "jti": jti,
            "htm": method,
            "htu": _target(url),
            "iat": now,
            "ath": encode_base64url(_sha256(access_token.encode())),
        }
        if nonce is not None:
            claims["nonce"] = nonce
        header = {"typ": "dpop+jwt", "alg": "EdDSA", "jwk": self._jwk}
        signed = f"{encode_base64url(_compact(header))}.{encode_base64url(_compact(claims))}"
        return f"{signed}.{encode_base64url(self._private.sign(signed.encode()))}"


def _target(url: str) -> str:
    """The URL without query and fragment, which may hold what is no business of a proof (section 4.2)."""
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname or "@" in parts.netloc:
        raise ValueError("a DPoP proof is for an http(s) URL without a user name")
    return url.partition("#")[0].partition("?")[0]


def _compact(members: object) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode()


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _read_private(path: Path) -> bytes:
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | _WITHOUT_HINDRANCE), "rb") as file:
            # The mode of the open file, not of the path: nobody can swap it in between.
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise ClientKeyError(f"{path} is not a regular file")
            # On Windows the mode says nothing about others.
            if os.name == "posix" and mode & 0o077:
                raise ClientKeyError(f"{path} is open to others than its owner; run: chmod 600 {path}")
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as cause:
        raise ClientKeyError(f"cannot read the key {path}: {cause.strerror}") from None
    if len(data) > MAX_FILE_BYTES:
        raise ClientKeyError(f"{path} is too long for a key")
    return data
