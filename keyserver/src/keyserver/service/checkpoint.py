"""The audit log's head, for whoever watches the log."""

from __future__ import annotations

from sqlalchemy.orm import Session

from faceseal.cosignature import with_cosignatures
from faceseal.wire import Checkpoint, Consistency
from keyserver import audit
from keyserver.actions import Action
from keyserver.errors import NotFound, RequestInvalid
from keyserver.policy import Caller
from keyserver.service.deciding import Attempt, deciding
from keyserver.service.ports import Ports
from keyserver.service.witnessed import log_keys, newest_witnessed


def shown_checkpoint(ports: Ports, caller: Caller, witnessed: bool = False) -> Checkpoint:
    """See `checkpoint_note`.  Raises AccessDenied, Unavailable, and NotFound if there is no witnessed one."""
    with deciding(Attempt(ports, caller, Action.READ_AUDIT, ports.clock()), writes=False) as session:
        note = checkpoint_note(session, ports, witnessed)
    if note is None:
        raise NotFound("no checkpoint has been cosigned by enough witnesses")
    return Checkpoint(checkpoint=note)


def checkpoint_note(session: Session, ports: Ports, witnessed: bool = False) -> str | None:
    """The log as committed, signed, with the cosignatures that there are of this very checkpoint.

    witnessed: instead the newest one that enough witnesses have cosigned; None if there is none.
    """
    found = newest_witnessed(session, log_keys(ports), ports.trust.witnessing)
    if witnessed:
        return None if found is None else found.note
    checkpoint = audit.current_checkpoint(session)
    note = ports.signer.sign(checkpoint)
    return note if found is None or found.checkpoint != checkpoint else with_cosignatures(note, found.cosigned)


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
