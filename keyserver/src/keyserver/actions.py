"""What can be asked of the server, and which scopes allow to ask for it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from faceseal.wire import Scope


class Action(StrEnum):
    """The values appear in the audit log, followed by how it ended: ``release.denied``."""

    START_LOG = "log.start"
    ROTATE_LOG_KEY = "log_key.rotate"
    RETIRE_LOG_KEY = "log_key.retire"
    CREATE_TENANT = "tenant.create"
    ROTATE_ISSUER = "issuer.rotate"
    ROTATE_KEK = "kek.rotate"
    REWRAP_KEYS = "kek.rewrap"
    DESTROY_KEK = "kek.destroy"
    MOVE_ROOT = "root.move"
    MAKE_BACKUP = "backup.make"
    RESTORE_BACKUP = "backup.restore"
    CREATE_KEY = "key.create"
    BIND_KEY = "key.bind"
    READ_KEYS = "key.read"
    REVOKE_KEY = "key.revoke"
    """Suspending, whichever of its two routes was taken."""
    RESUME_KEY = "key.resume"
    SCHEDULE_DESTRUCTION = "key.schedule_destruction"
    CANCEL_DESTRUCTION = "key.cancel_destruction"
    DESTROY_KEY = "key.destroy"
    REQUEST_GRANT = "grant.request"
    READ_GRANTS = "grant.read"
    APPROVE_GRANT = "grant.approve"
    DENY_GRANT = "grant.deny"
    REVOKE_GRANT = "grant.revoke"
    RELEASE = "release"
    BREAK_GLASS = "break_glass"
    READ_POLICY = "policy.read"
    SET_POLICY = "policy.set"
    ADD_WEBHOOK = "webhook.add"
    REMOVE_WEBHOOK = "webhook.remove"
    READ_AUDIT = "audit.read"
    PROVE_LOG = "audit.prove"
    SEARCH_AUDIT = "audit.search"
    ERASE_SUBJECT = "subject.erase"
    PUT_AWAY = "audit.put_away"


SCOPES: Mapping[Action, frozenset[Scope]] = {
    Action.CREATE_KEY: frozenset({Scope.KEYS_CREATE}),
    Action.BIND_KEY: frozenset({Scope.KEYS_CREATE}),
    Action.READ_KEYS: frozenset({Scope.KEYS_CREATE, Scope.KEYS_RELEASE, Scope.KEYS_ADMIN}),
    Action.REVOKE_KEY: frozenset({Scope.KEYS_ADMIN}),
    Action.RESUME_KEY: frozenset({Scope.KEYS_ADMIN}),
    Action.SCHEDULE_DESTRUCTION: frozenset({Scope.KEYS_ADMIN}),
    Action.CANCEL_DESTRUCTION: frozenset({Scope.KEYS_ADMIN}),
    Action.REQUEST_GRANT: frozenset({Scope.GRANTS_REQUEST}),
    Action.READ_GRANTS: frozenset({Scope.GRANTS_REQUEST, Scope.GRANTS_APPROVE, Scope.KEYS_RELEASE}),
    Action.APPROVE_GRANT: frozenset({Scope.GRANTS_APPROVE}),
    Action.DENY_GRANT: frozenset({Scope.GRANTS_APPROVE}),
    Action.REVOKE_GRANT: frozenset({Scope.GRANTS_REQUEST, Scope.GRANTS_APPROVE, Scope.KEYS_RELEASE}),
    Action.RELEASE: frozenset({Scope.KEYS_RELEASE}),
    Action.BREAK_GLASS: frozenset({Scope.KEYS_RELEASE}),
    Action.READ_POLICY: frozenset({Scope.KEYS_ADMIN}),
    Action.READ_AUDIT: frozenset({Scope.AUDIT_READ}),
    # Whoever gets receipts must be able to have them proved to continue each other.
    Action.PROVE_LOG: frozenset({Scope.AUDIT_READ, Scope.KEYS_RELEASE}),
    Action.SEARCH_AUDIT: frozenset({Scope.AUDIT_READ}),
}
"""Any one of the scopes is enough.  What is missing here is not for callers, but for the operator."""
RELEASING: frozenset[Action] = frozenset({Action.RELEASE, Action.BREAK_GLASS})
"""What lets a key out."""
