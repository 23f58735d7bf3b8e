"""One tree of errors: everything that the key server raises on purpose is a `KeyServerError`.

Most of them are answers to a request, and `keyserver.problems` gives each its status and its
stable problem `type`; `SetupError` is for the operator.  No message holds a key, a token or
a grant.
"""

from __future__ import annotations


class KeyServerError(Exception):
    """Base of all errors of this package; never raised itself."""


class Unauthenticated(KeyServerError):
    """The access token is missing or does not count."""


class ProofNeeded(Unauthenticated):
    """The DPoP proof is missing or does not count."""


class AccessDenied(KeyServerError):
    """Policy says no.  Carries no reason: the audit log has it, and the caller learns none."""


class NotFound(KeyServerError):
    """There is no such thing, or it is another tenant's; the caller cannot tell which."""


class Conflict(KeyServerError):
    """The thing is in a state in which this cannot be done to it."""


class RequestInvalid(KeyServerError):
    """The request itself is wrong."""


class KeyReused(KeyServerError):
    """The Idempotency-Key was used for another request."""


class StillRunning(KeyServerError):
    """The same request, under the same Idempotency-Key, is still being worked on."""


class TooMany(KeyServerError):
    """Too many requests of a kind.  `whose` the limit is, the bucket's size, its rate, and seconds to wait."""

    def __init__(self, whose: str, quota: int, per_second: int, wait: int) -> None:
        super().__init__(f"too many requests: the limit of the {whose}")
        self.whose = whose
        self.quota = quota
        self.per_second = per_second
        self.wait = wait


class Unavailable(KeyServerError):
    """The server cannot answer now; nothing was released."""


class LogInDoubt(Unavailable):
    """The audit log may not be the one that was published, or lacks witnesses: no key is released."""


class StoreUnavailable(Unavailable):
    """The database refused or did not answer, so nothing was written."""


class WrapBroken(Unavailable):
    """Wrapped bytes do not open: altered, swapped, or wrapped by another root."""


class BackupBroken(KeyServerError):
    """The file is no backup, does not open with this passphrase, or was altered; nothing of it was taken over."""


class SetupError(KeyServerError):
    """The installation is not usable; the message tells the operator what to do."""
