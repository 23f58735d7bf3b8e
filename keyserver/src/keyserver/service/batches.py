"""Many keys in one transaction: all of them, or none.

What is done once for all: the transaction, the lock on the KEK, its opening, the turn at the
audit log, and for each recipient one HPKE ciphertext of all its keys (see docs/adr/0013).
Each key has its own id, wrapping and audit entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from faceseal.keytransport import KEY_BYTES, batch_info, seal_keys
from faceseal.wire import CreateKeys, KeysCreated, KeyState, SealedKeys
from keyserver import audit, keywrap
from keyserver.actions import Action
from keyserver.audit import Outcome
from keyserver.errors import RequestInvalid
from keyserver.policy import Caller, Reason
from keyserver.service.deciding import Attempt, Refused, deciding
from keyserver.service.keys import UNUSABLE_RECIPIENT
from keyserver.service.ports import Ports
from keyserver.store import queries
from keyserver.store.bulk import insert_rows
from keyserver.store.tables import KeyLabelRow, KeyRow

_KEY_COLUMNS = ("id", "tenant", "state", "created_at", "created_by", "labels", "kek_epoch", "suite", "wrapped")
_LABEL_COLUMNS = ("key_id", "name", "value", "tenant", "created_at")


def create_keys(ports: Ports, caller: Caller, request: CreateKeys) -> KeysCreated:
    """Make image keys, keep them wrapped, and answer with them sealed to their recipients.

    Raises AccessDenied, RequestInvalid if a recipient is no usable public key, Unavailable.
    """
    attempt = Attempt(ports, caller, Action.CREATE_KEY, ports.clock())
    tenant, now = caller.tenant, attempt.now
    with deciding(attempt) as session:
        wrapping = queries.kek_for_wrapping(session, tenant)
        if wrapping is None:
            raise Refused(Reason.TENANT_UNKNOWN)
        kek, epoch = keywrap.open_kek(ports.root, wrapping.wrapped, tenant, wrapping.epoch), wrapping.epoch
        key_ids = [ports.new_id() for _ in request.keys]
        image_keys = [ports.random(KEY_BYTES) for _ in request.keys]
        sealed = _sealed(request.recipients(), key_ids, image_keys)
        keys = [
            (key_id, tenant, KeyState.ACTIVE, now, caller.subject, new.labels, epoch, keywrap.SUITE, wrapped)
            for new, key_id, wrapped in zip(
                request.keys,
                key_ids,
                (
                    keywrap.wrap_image_key(kek, image_key, key_id, ports.random)
                    for image_key, key_id in zip(image_keys, key_ids, strict=True)
                ),
                strict=True,
            )
        ]
        labels = [
            (key_id, name, value, tenant, now)
            for new, key_id in zip(request.keys, key_ids, strict=True)
            for name, value in new.labels.items()
        ]
        insert_rows(session, KeyRow, _KEY_COLUMNS, keys)
        insert_rows(session, KeyLabelRow, _LABEL_COLUMNS, labels)
        entry = replace(attempt.entry(Outcome.ALLOWED), kek_epoch=epoch)
        audit.record_all(session, entry.of_each(key_ids))
    return KeysCreated(created_at=now, key_ids=key_ids, sealed=sealed)


def _sealed(recipients: Sequence[bytes], key_ids: Sequence[UUID], image_keys: Sequence[bytes]) -> list[SealedKeys]:
    """For each recipient, in order of first appearance, its keys in one ciphertext.  Raises RequestInvalid."""
    places: dict[bytes, list[int]] = {}
    for place, recipient in enumerate(recipients):
        places.setdefault(recipient, []).append(place)
    try:
        return [
            SealedKeys(
                recipient=recipient,
                sealed_keys=seal_keys(
                    [image_keys[place] for place in mine], recipient, batch_info([key_ids[place] for place in mine])
                ),
            )
            for recipient, mine in places.items()
        ]
    except ValueError:
        raise RequestInvalid(UNUSABLE_RECIPIENT) from None
