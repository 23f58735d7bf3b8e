"""Keys over their life: suspended, resumed, and destroyed after a waiting period.

A release locks the key's row against every change here, and every change locks it against
releases: whoever begins a release after a change was acknowledged sees its result.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from uuid import UUID

from faceseal.wire import KeyInfo, KeyState
from keyserver import audit
from keyserver.actions import Action
from keyserver.audit import Entry, Outcome
from keyserver.audit.entry import OPERATOR
from keyserver.key_states import decide_change
from keyserver.policy import Caller, Denied
from keyserver.service.deciding import Attempt, Refused, deciding
from keyserver.service.facts import key_facts, key_info
from keyserver.service.keys import visible_key
from keyserver.service.ports import Ports
from keyserver.store import keysearch, queries
from keyserver.store.shredding import drop_journal, overwrite_freed
from keyserver.store.tables import KeyRow

BATCH = 500
"""Keys that are destroyed in one transaction."""


def suspend_key(ports: Ports, caller: Caller, key_id: UUID) -> KeyInfo:
    """Nobody is given the key from now on; a suspended key stays suspended.

    Raises NotFound, AccessDenied, Conflict if the key is past suspending, Unavailable.
    """
    return _change(ports, caller, key_id, Action.REVOKE_KEY)


def resume_key(ports: Ports, caller: Caller, key_id: UUID) -> KeyInfo:
    """A suspended key is released again, under the grants that are in force.

    Raises NotFound, AccessDenied, Conflict if its destruction is ahead or done, Unavailable.
    """
    return _change(ports, caller, key_id, Action.RESUME_KEY)


def schedule_destruction(ports: Ports, caller: Caller, key_id: UUID) -> KeyInfo:
    """Nobody is given the key from now on, and after the waiting period it is destroyed; asked again, no sooner.

    Raises NotFound, AccessDenied, Conflict if it is destroyed, Unavailable.
    """
    return _change(ports, caller, key_id, Action.SCHEDULE_DESTRUCTION)


def cancel_destruction(ports: Ports, caller: Caller, key_id: UUID) -> KeyInfo:
    """The key is kept, and suspended.

    Raises NotFound, AccessDenied, Conflict if no destruction is ahead, or it is due; Unavailable.
    """
    return _change(ports, caller, key_id, Action.CANCEL_DESTRUCTION)


def destroy_due(ports: Ports, batch: int = BATCH) -> Iterator[int]:
    """Empty the rows of all keys whose time is over, whatever their tenant; yields how many, after each transaction.

    Each has its entry in the log.  Raises StoreUnavailable.
    """
    while True:
        now = ports.clock()
        with ports.database.writing() as session:
            overwrite_freed(session)
            rows = queries.due_keys_for_change(session, now, batch)
            for row in rows:
                row.state, row.wrapped, row.destroyed_at = _destroyed(row, now), b"", now
            if rows:
                audit.record_all(session, [_destruction(row, now) for row in rows])
        if not rows:
            break
        yield len(rows)
    drop_journal(ports.database)


def index_labels(ports: Ports) -> int:
    """Make keys findable by label that a server of an older version created; how many were not.

    Raises StoreUnavailable.
    """
    total, last = 0, None
    while True:
        with ports.database.writing() as session:
            last, added = keysearch.index_labels(session, last)
        total += added
        if last is None:
            return total


def _change(ports: Ports, caller: Caller, key_id: UUID, action: Action) -> KeyInfo:
    attempt = Attempt(ports, caller, action, ports.clock(), key_id)
    with deciding(attempt) as session:
        row = visible_key(queries.key_for_change(session, key_id), caller)
        state = decide_change(key_facts(row), action, attempt.now)
        if isinstance(state, Denied):
            raise Refused(state.reason)
        if state is not row.state:
            row.state = state
            scheduled = state is KeyState.DESTRUCTION_SCHEDULED
            row.destruction_due_at = attempt.now + ports.destruction_wait if scheduled else None
            audit.append(session, replace(attempt.entry(Outcome.ALLOWED), due_at=row.destruction_due_at))
    return key_info(row)


def _destroyed(row: KeyRow, now: int) -> KeyState:
    state = decide_change(key_facts(row), Action.DESTROY_KEY, now)
    if isinstance(state, Denied):
        # The query gave a row that policy does not let go: nothing of the batch is destroyed.
        raise AssertionError(f"a key is not due: {state.reason.value}")
    return state


def _destruction(row: KeyRow, now: int) -> Entry:
    return Entry(
        at=now,
        action=Action.DESTROY_KEY,
        outcome=Outcome.ALLOWED,
        actor=OPERATOR,
        tenant=row.tenant,
        key_id=row.id,
        kek_epoch=row.kek_epoch,
        due_at=row.destruction_due_at,
    )
