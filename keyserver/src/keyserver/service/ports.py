"""What the service needs from outside; tests pass other ones through the same doors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from keyserver.audit.logkeys import LogKeys
from keyserver.keywrap import Random, Root
from keyserver.service.logtrust import LogTrust
from keyserver.service.pages import Cursors
from keyserver.service.refusals import Refusals
from keyserver.store.database import Database
from keyserver.tokens import AccessVerifier, BuiltinIssuer
from keyserver.tokens.nonces import Nonces


@dataclass(frozen=True)
class Ports:
    """Passed to every function of the service."""

    database: Database
    root: Root
    issuer: BuiltinIssuer
    verifier: AccessVerifier
    signer: LogKeys
    clock: Callable[[], int]
    """Whole seconds since 1970-01-01 UTC."""
    new_id: Callable[[], UUID]
    random: Random
    nonces: Nonces
    external_url: str | None
    """What clients see in place of this server's own address; None: they see that one."""
    cursors: Cursors
    destruction_wait: int
    """Seconds between the decision to destroy a key and its destruction."""
    on_break_glass: Callable[[str], None] = lambda _tenant: None
    """Called with the tenant whenever somebody has broken the glass, for whoever counts."""
    refusals: Refusals = field(default_factory=Refusals)
    trust: LogTrust = field(default_factory=LogTrust)
    """Whether the log may be released from."""
