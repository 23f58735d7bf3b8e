"""The audit log's head, for whoever watches the log."""

from __future__ import annotations

from faceseal.wire import Checkpoint, Consistency
from keyserver import audit
from keyserver.actions import Action
from keyserver.errors import RequestInvalid
from keyserver.policy import Caller
from keyserver.service.deciding import Attempt, deciding
from keyserver.service.ports import Ports


def current_checkpoint(ports: Ports, caller: Caller) -> Checkpoint:
    """The signed checkpoint of the log as committed.  Raises AccessDenied, Unavailable."""
    with deciding(Attempt(ports, caller, Action.READ_AUDIT, ports.clock()), writes=False) as session:
        checkpoint = audit.current_checkpoint(session)
    return Checkpoint(checkpoint=ports.signer.sign(checkpoint))


def prove_consistency(ports: Ports, caller: Caller, old_size: int, size: int | None) -> Consistency:
    """Proof that the log of `size` entries, or all, continues that of `old_size`.

    Raises AccessDenied, Unavailable, and RequestInvalid if the log never had as many.
    """
    with deciding(Attempt(ports, caller, Action.PROVE_LOG, ports.clock()), writes=False) as session:
        there = audit.current_checkpoint(session).size
        end = there if size is None else size
        if not old_size <= end <= there:
            raise RequestInvalid(f"the audit log has {there} entries, and grows from fewer to more")
        proof = audit.prove_consistency(session, old_size, end)
    return Consistency(old_size=old_size, size=end, proof=proof)
