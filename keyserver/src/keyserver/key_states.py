"""The states of an image key, and what leads from one to another: pure, and all of it in one table.

    active <-> suspended
    active, suspended -> destruction_scheduled -> destroyed
    destruction_scheduled -> suspended, until the destruction is due

Whoever cancels a destruction gets a suspended key: that it may be released again is a second
decision.  What is done already may be asked for again, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from faceseal.wire import KeyState
from keyserver.actions import Action
from keyserver.policy import Denied, KeyFacts, Reason, is_due

_ACTIVE, _SUSPENDED = KeyState.ACTIVE, KeyState.SUSPENDED
_SCHEDULED, _DESTROYED = KeyState.DESTRUCTION_SCHEDULED, KeyState.DESTROYED

_NEXT: Mapping[Action, Mapping[KeyState, KeyState]] = {
    Action.REVOKE_KEY: {_ACTIVE: _SUSPENDED, _SUSPENDED: _SUSPENDED},
    Action.RESUME_KEY: {_SUSPENDED: _ACTIVE, _ACTIVE: _ACTIVE},
    Action.SCHEDULE_DESTRUCTION: {_ACTIVE: _SCHEDULED, _SUSPENDED: _SCHEDULED, _SCHEDULED: _SCHEDULED},
    Action.CANCEL_DESTRUCTION: {_SCHEDULED: _SUSPENDED},
    Action.DESTROY_KEY: {_SCHEDULED: _DESTROYED, _DESTROYED: _DESTROYED},
}
_REFUSED: Mapping[Action, Reason] = {
    Action.REVOKE_KEY: Reason.KEY_NOT_SUSPENDABLE,
    Action.RESUME_KEY: Reason.KEY_NOT_RESUMABLE,
    Action.SCHEDULE_DESTRUCTION: Reason.KEY_DESTROYED,
    Action.CANCEL_DESTRUCTION: Reason.NO_DESTRUCTION_AHEAD,
    Action.DESTROY_KEY: Reason.DESTRUCTION_NOT_DUE,
}
_NOT_ONCE_DUE = (Action.RESUME_KEY, Action.CANCEL_DESTRUCTION)


def decide_change(key: KeyFacts, action: Action, now: int) -> KeyState | Denied:
    """The state that the key has after the action at `now` (seconds since 1970), which may be the one it has.

    Raises KeyError for an action that changes no key's state.
    """
    after, due = _NEXT[action].get(key.state), is_due(key, now)
    too_late = due and action in _NOT_ONCE_DUE
    too_early = not due and (key.state, after) == (_SCHEDULED, _DESTROYED)
    return Denied(_REFUSED[action]) if after is None or too_late or too_early else after
