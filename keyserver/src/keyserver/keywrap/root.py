"""What every root has in common."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

Random = Callable[[int], bytes]
"""So many bytes from the operating system."""


class RootKind(StrEnum):
    """Where the key lives that wraps the tenants' KEKs."""

    FILE = "file"
    PKCS11 = "pkcs11"
    AWS_KMS = "aws-kms"
    VAULT_TRANSIT = "vault-transit"


class Root(Protocol):
    """What wraps KEKs.  `context` is authenticated, not hidden, and must be the same to unwrap."""

    def wrap(self, kek: bytes, context: bytes) -> bytes:
        """The wrapped KEK.  Raises Unavailable if the root does not answer."""
        ...

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """The KEK (32 bytes).  Raises WrapBroken if it does not open, Unavailable if the root does not answer."""
        ...


class RemoteRoot(Root, Protocol):
    """A root that is reached through somebody else's library, which may fail in ways of its own."""

    def check(self) -> None:
        """Raises SetupError if the root, as it is set, is not fit to wrap KEKs."""
        ...
