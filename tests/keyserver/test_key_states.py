"""The states of a key as a table: every state, every action, before and after the destruction is due."""

from __future__ import annotations

from uuid import uuid4

import pytest

from faceseal.wire import KeyState
from keyserver.actions import Action
from keyserver.key_states import decide_change
from keyserver.policy import Denied, KeyFacts, Reason, is_due

NOW = 1_800_000_000
CHANGES = (
    Action.REVOKE_KEY,
    Action.RESUME_KEY,
    Action.SCHEDULE_DESTRUCTION,
    Action.CANCEL_DESTRUCTION,
    Action.DESTROY_KEY,
)
ACTIVE, SUSPENDED, SCHEDULED, DESTROYED = KeyState
NO_SUSPENDING, NO_RESUMING = Denied(Reason.KEY_NOT_SUSPENDABLE), Denied(Reason.KEY_NOT_RESUMABLE)
GONE, NOTHING_AHEAD = Denied(Reason.KEY_DESTROYED), Denied(Reason.NO_DESTRUCTION_AHEAD)
NOT_DUE = Denied(Reason.DESTRUCTION_NOT_DUE)

TABLE = {
    # state, due: suspend, resume, schedule, cancel, destroy
    (ACTIVE, False): (SUSPENDED, ACTIVE, SCHEDULED, NOTHING_AHEAD, NOT_DUE),
    (SUSPENDED, False): (SUSPENDED, ACTIVE, SCHEDULED, NOTHING_AHEAD, NOT_DUE),
    (SCHEDULED, False): (NO_SUSPENDING, NO_RESUMING, SCHEDULED, SUSPENDED, NOT_DUE),
    (SCHEDULED, True): (NO_SUSPENDING, NO_RESUMING, SCHEDULED, NOTHING_AHEAD, DESTROYED),
    (DESTROYED, True): (NO_SUSPENDING, NO_RESUMING, GONE, NOTHING_AHEAD, DESTROYED),
    # Rows that this program does not write: a due key does not come back, whatever its row says.
    (ACTIVE, True): (SUSPENDED, NO_RESUMING, SCHEDULED, NOTHING_AHEAD, NOT_DUE),
    (SUSPENDED, True): (SUSPENDED, NO_RESUMING, SCHEDULED, NOTHING_AHEAD, NOT_DUE),
    (DESTROYED, False): (NO_SUSPENDING, NO_RESUMING, GONE, NOTHING_AHEAD, DESTROYED),
}


def facts(state: KeyState, due_at: int | None) -> KeyFacts:
    return KeyFacts(uuid4(), "default", state, "alice", None, due_at)


def test_the_table_is_complete() -> None:
    assert set(TABLE) == {(state, due) for state in KeyState for due in (False, True)}


@pytest.mark.parametrize(("state", "due"), TABLE)
@pytest.mark.parametrize("action", CHANGES)
def test_each_action_in_each_state_leads_where_the_table_says(state: KeyState, due: bool, action: Action) -> None:
    scheduled_for = NOW if due else None if state is not SCHEDULED else NOW + 1
    assert decide_change(facts(state, scheduled_for), action, NOW) == TABLE[state, due][CHANGES.index(action)]


@pytest.mark.parametrize("action", sorted(set(Action) - set(CHANGES)))
def test_no_other_action_changes_a_key(action: Action) -> None:
    with pytest.raises(KeyError):
        decide_change(facts(ACTIVE, None), action, NOW)


def test_a_key_is_due_from_the_very_second_on() -> None:
    assert [is_due(facts(SCHEDULED, NOW), now) for now in (NOW - 1, NOW, NOW + 1)] == [False, True, True]
    assert not is_due(facts(SCHEDULED, None), NOW)
