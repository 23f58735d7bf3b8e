"""The audit log's head, for whoever watches the log."""

from __future__ import annotations

from faceseal.wire import Checkpoint
from keyserver import audit
from keyserver.actions import Action
from keyserver.policy import Caller
from keyserver.service.deciding import Attempt, deciding
from keyserver.service.ports import Ports


def current_checkpoint(ports: Ports, caller: Caller) -> Checkpoint:
    """The signed checkpoint of the log as committed.  Raises AccessDenied, Unavailable."""
    with deciding(Attempt(ports, caller, Action.READ_AUDIT, ports.clock()), writes=False) as session:
        checkpoint = audit.current_checkpoint(session)
    return Checkpoint(checkpoint=ports.signer.sign(checkpoint))
