"""KEKs over their life: listed, rotated, emptied of keys, destroyed, and moved to another root.

The operator does this on the server's own machine, while replicas serve.  Of a tenant's
epochs the newest wraps new keys; older ones still open what they wrap; a destroyed one opens
nothing, in any replica from its next request on, since each reads the KEK's row in the
transaction of the request.

Locks are taken in this order: tenants, KEK, keys by id, audit log.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from uuid import UUID

from sqlalchemy.orm import Session

from keyserver import audit, keywrap
from keyserver.actions import Action
from keyserver.audit import Entry, Outcome
from keyserver.audit.entry import OPERATOR
from keyserver.errors import Conflict, NotFound, WrapBroken
from keyserver.keywrap import Kek, Root
from keyserver.service import people
from keyserver.service.ports import Ports
from keyserver.service.webhooks import moved_secrets, set_moved_secrets
from keyserver.store import outbox, queries
from keyserver.store.shredding import drop_journal, overwrite_freed
from keyserver.store.tables import KekRow, KeyRow

BATCH = 500
"""Keys that are moved in one transaction."""


class KekState(StrEnum):
    """Not stored: age and destruction say so."""

    CURRENT = "current"
    RETIRED = "retired"
    DESTROYED = "destroyed"


@dataclass(frozen=True)
class KekInfo:
    """One epoch of a tenant's KEK, and how many keys hang on it.  Times in seconds since 1970."""

    tenant: str
    epoch: int
    state: KekState
    created_at: int
    destroyed_at: int | None
    keys: int
    destroyed_keys: int


@dataclass(frozen=True)
class Progress:
    """How far a rewrap is: `broken` keys do not open, and stay where they are."""

    epoch: int
    moved: int
    total: int
    broken: int


def list_keks(ports: Ports, tenant: str | None = None) -> list[KekInfo]:
    """All epochs, of one tenant or of all, in order.  Raises NotFound, StoreUnavailable."""
    with ports.database.reading() as session:
        rows = sorted(queries.all_keks(session), key=lambda row: (row.tenant, row.epoch))
        counts = queries.keys_by_epoch(session, tenant)
    newest = {row.tenant: row.epoch for row in rows}
    if tenant is not None and tenant not in newest:
        raise NotFound(f"there is no tenant {tenant}")
    return [
        KekInfo(
            row.tenant,
            row.epoch,
            _state(row, newest[row.tenant]),
            row.created_at,
            row.destroyed_at,
            *counts.get((row.tenant, row.epoch), (0, 0)),
        )
        for row in rows
        if tenant in (None, row.tenant)
    ]


def rotate(ports: Ports, tenant: str) -> int:
    """A new KEK for the tenant's new keys; its epoch.

    Raises NotFound, Conflict if somebody else rotated meanwhile, WrapBroken if this root is
    not the one of the present KEK, Unavailable.
    """
    with ports.database.reading() as session:
        newest = queries.current_kek(session, tenant)
    if newest is None:
        raise NotFound(f"there is no tenant {tenant}")
    # The root is asked outside of the transaction: nobody waits for it.
    keywrap.open_kek(ports.root, newest.wrapped, tenant, newest.epoch)
    epoch = newest.epoch + 1
    wrapped = keywrap.wrap_new_kek(ports.root, tenant, epoch, ports.random)
    now = ports.clock()
    with ports.database.writing() as session:
        queries.tenants_for_change(session, tenant)
        present = queries.current_kek(session, tenant)
        if present is None or (present.epoch, present.wrapped) != (newest.epoch, newest.wrapped):
            raise Conflict("the tenant's KEK was changed meanwhile")
        session.add(KekRow(tenant=tenant, epoch=epoch, wrapped=wrapped, created_at=now))
        audit.append(session, replace(_entry(now, Action.ROTATE_KEK), tenant=tenant, kek_epoch=epoch))
    return epoch


def rewrap(ports: Ports, tenant: str, batch: int = BATCH) -> Iterator[Progress]:
    """Move the keys of older epochs to the newest, one transaction and audit entry a batch.

    What is not yielded is not done: a rewrap that was stopped anywhere goes on when it is
    called again.  Keys that requests hold are passed over, and waited for at the end.

    Raises NotFound, WrapBroken if the newest KEK itself does not open, Unavailable.
    """
    infos = list_keks(ports, tenant)
    total = sum(info.keys for info in infos[:-1])
    moved = broken = 0
    yield Progress(infos[-1].epoch, moved, total, broken)
    for last_round in (False, True):
        after: UUID | None = None
        while (step := _rewrap_batch(ports, tenant, after, batch, last_round)) is not None:
            after = step.last
            moved += step.moved
            broken += step.broken if last_round else 0
            yield Progress(step.epoch, moved, max(total, moved + broken), broken)


def destroy(ports: Ports, tenant: str, epoch: int) -> int:
    """Delete the wrapped KEK; how many keys, all destroyed before, can never be opened again.

    The entry in the audit log is the certificate.  Raises NotFound, Conflict if the KEK is
    the current one, is destroyed, or a key that is not destroyed hangs on it; StoreUnavailable.
    """
    now = ports.clock()
    with ports.database.writing() as session:
        overwrite_freed(session)
        row = queries.kek_for_change(session, tenant, epoch)
        newest = queries.current_kek(session, tenant)
        if row is None or newest is None:
            raise NotFound(f"tenant {tenant} has no KEK of epoch {epoch}")
        if row.destroyed_at is not None:
            raise Conflict(f"the KEK of epoch {epoch} is destroyed already")
        if row.epoch == newest.epoch:
            raise Conflict(f"epoch {epoch} is the current one; rotate first")
        # Counted under the lock: who adds a key holds the KEK's row until it is there.
        left, gone = queries.keys_by_epoch(session, tenant).get((tenant, epoch), (0, 0))
        if left:
            raise Conflict(f"{left} keys that are not destroyed hang on epoch {epoch}; rewrap first")
        row.wrapped, row.destroyed_at = b"", now
        audit.append(session, replace(_entry(now, Action.DESTROY_KEK), tenant=tenant, kek_epoch=epoch, count=gone))
    drop_journal(ports.database)
    return gone


def move_root(ports: Ports, new: Root, names: str) -> int:
    """Wrap every KEK, webhooks' secrets and the log's reader with another root, in one transaction; how many KEKs.

    `names` says from where to where.  Afterwards the present root opens nothing that the
    database holds: replicas answer 503 until they are started with the settings of the new one.

    Raises WrapBroken if either root does not open a KEK, secret or reader, Conflict if any was
    changed meanwhile, Unavailable.
    """
    with ports.database.reading() as session:
        before = {(row.tenant, row.epoch): row.wrapped for row in queries.openable_keks(session)}
        webhooks = outbox.all_webhooks(session)
        reader = people.wrapped_reader(session)
    secrets = moved_secrets(webhooks, ports.root, new)
    moved_reader = people.moved_reader(reader, ports.root, new)
    moved = {
        (tenant, epoch): keywrap.move_kek(ports.root, new, wrapped, tenant, epoch)
        for (tenant, epoch), wrapped in before.items()
    }
    now = ports.clock()
    with ports.database.writing() as session:
        overwrite_freed(session)
        queries.tenants_for_change(session)
        rows = queries.openable_keks(session)
        if {(row.tenant, row.epoch): row.wrapped for row in rows} != before:
            raise Conflict("KEKs were changed meanwhile; nothing was moved")
        for row in rows:
            row.wrapped = moved[row.tenant, row.epoch]
        set_moved_secrets(session, secrets)
        people.set_moved_reader(session, reader, moved_reader)
        audit.append(session, replace(_entry(now, Action.MOVE_ROOT), count=len(rows), reason=names))
    drop_journal(ports.database)
    return len(moved)


@dataclass(frozen=True)
class _Step:
    last: UUID
    epoch: int
    moved: int
    broken: int


def _rewrap_batch(ports: Ports, tenant: str, after: UUID | None, limit: int, last_round: bool) -> _Step | None:
    now = ports.clock()
    with ports.database.writing() as session:
        newest = queries.kek_for_wrapping(session, tenant)
        if newest is None:
            raise NotFound(f"there is no tenant {tenant}")
        rows = queries.keys_for_rewrap(session, tenant, newest.epoch, after, limit, skip_locked=not last_round)
        if not rows:
            return None
        new = keywrap.open_kek(ports.root, newest.wrapped, tenant, newest.epoch)
        old = _opened(session, ports, tenant, {row.kek_epoch for row in rows})
        before = [row.kek_epoch for row in rows]
        succeeded = [_moved(row, old.get(row.kek_epoch), new, newest.epoch, ports) for row in rows]
        moved = [epoch for epoch, success in zip(before, succeeded, strict=True) if success]
        broken = len(rows) - len(moved)
        if moved:
            epochs = tuple(sorted(set(moved)))
            done = replace(_entry(now, Action.REWRAP_KEYS), tenant=tenant, kek_epoch=newest.epoch, count=len(moved))
            audit.append(session, replace(done, from_epochs=epochs))
        if broken and last_round:
            failed = replace(_entry(now, Action.REWRAP_KEYS), tenant=tenant, kek_epoch=newest.epoch, count=broken)
            audit.append(session, replace(failed, outcome=Outcome.FAILED, reason="wrapped keys do not open"))
        return _Step(rows[-1].id, newest.epoch, len(moved), broken)


def _opened(session: Session, ports: Ports, tenant: str, epochs: set[int]) -> dict[int, Kek]:
    """The KEKs of these epochs, without those that do not open."""
    found: dict[int, Kek] = {}
    for row in queries.openable_keks(session, tenant):
        if row.epoch in epochs:
            with suppress(WrapBroken):
                found[row.epoch] = keywrap.open_kek(ports.root, row.wrapped, tenant, row.epoch)
    return found


def _moved(row: KeyRow, old: Kek | None, new: Kek, epoch: int, ports: Ports) -> bool:
    """Wraps the row's key with the new KEK; False if it does not open."""
    if old is None:
        return False
    try:
        image_key = old.unwrap(row.wrapped, row.id, row.suite)
    except WrapBroken:
        return False
    row.wrapped, row.suite = keywrap.wrap_image_key(new, image_key, row.id, ports.random), keywrap.SUITE
    row.kek_epoch = epoch
    return True


def _state(row: KekRow, newest: int) -> KekState:
    if row.destroyed_at is not None:
        return KekState.DESTROYED
    return KekState.CURRENT if row.epoch == newest else KekState.RETIRED


def _entry(now: int, action: Action) -> Entry:
    return Entry(at=now, action=action, outcome=Outcome.ALLOWED, actor=OPERATOR)
