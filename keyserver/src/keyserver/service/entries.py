"""From leaves of the audit log to what the wire shows of them: parsed, and what is sealed opened."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from faceseal.wire import AuditEntry, AuditOutcome, PersonalData, decode_base64url
from keyserver.audit import personal
from keyserver.audit.personal import Binding
from keyserver.errors import WrapBroken
from keyserver.keywrap import Root
from keyserver.service.people import opened_reader, wrapped_reader
from keyserver.store import subjects
from keyserver.store.tables import SubjectRow


def shown(session: Session, root: Root, tenant: str, leaves: Sequence[str]) -> list[AuditEntry]:
    """What the leaves say; of another tenant's, which the index must not name, nothing.

    Raises WrapBroken if the root does not open the log's reader, Unavailable.
    """
    found = [(leaf, entry) for leaf, entry in ((leaf, json.loads(leaf)) for leaf in leaves) if _is_of(entry, tenant)]
    people = subjects.of(session, tenant, {UUID(entry["actor"]) for _, entry in found if "sealed" in entry})
    keys = _keys(session, root, people)
    return [_shown(leaf, entry, tenant, keys) for leaf, entry in found]


def _is_of(entry: Mapping[str, Any], tenant: str) -> bool:
    return entry.get("tenant") == tenant


def _keys(session: Session, root: Root, people: Mapping[UUID, SubjectRow]) -> dict[UUID, bytes | None]:
    """The private key of each person who is not erased; None if it does not open."""
    wrapped = wrapped_reader(session) if people else None
    if wrapped is None:
        return {}
    reader = opened_reader(wrapped, root)
    return {row.id: _key(row, reader) for row in people.values()}


def _key(row: SubjectRow, reader: bytes) -> bytes | None:
    try:
        return personal.open_person_key(row.sealed, reader, row.tenant, row.id)
    except WrapBroken:
        return None


def _shown(leaf: str, entry: Mapping[str, Any], tenant: str, keys: Mapping[UUID, bytes | None]) -> AuditEntry:
    action, _, outcome = entry["event"].rpartition(".")
    state, fields = _personal(entry, tenant, keys)
    return AuditEntry(
        index=entry["index"],
        leaf=leaf,
        at=entry["at"],
        action=action,
        outcome=AuditOutcome(outcome),
        personal=state,
        actor=fields.get("actor"),
        pseudonym=UUID(entry["actor"]) if "sealed" in entry else None,
        token_id=fields.get("token"),
        jkt=fields.get("jkt"),
        key_ids=[UUID(key) for key in ([entry["key"]] if "key" in entry else []) + entry.get("keys", [])],
        grant_id=_identifier(entry, "grant"),
        recipient=_binary(entry, "recipient"),
        sealed_digest=_binary(entry, "sealed_digest"),
        purpose_code=entry.get("purpose_code"),
        purpose=fields.get("purpose"),
        reference=fields.get("reference"),
        labels=fields.get("labels", {}),
        uses_left=entry.get("uses_left"),
        about=_identifier(entry, "about"),
        reason=entry.get("reason"),
    )


def _personal(
    entry: Mapping[str, Any], tenant: str, keys: Mapping[UUID, bytes | None]
) -> tuple[PersonalData, Mapping[str, Any]]:
    if "sealed" not in entry:
        return PersonalData.CLEAR, entry
    subject = UUID(entry["actor"])
    if subject not in keys:
        return PersonalData.ERASED, {}
    binding = Binding(tenant, subject, entry["event"], entry["at"], _identifier(entry, "grant"))
    key = keys[subject]
    if key is None:
        return PersonalData.BROKEN, {}
    try:
        return PersonalData.OPENED, personal.open_fields(decode_base64url(entry["sealed"]), key, binding)
    except (WrapBroken, ValueError):
        return PersonalData.BROKEN, {}


def _identifier(entry: Mapping[str, Any], name: str) -> UUID | None:
    return UUID(entry[name]) if name in entry else None


def _binary(entry: Mapping[str, Any], name: str) -> bytes | None:
    return decode_base64url(entry[name]) if name in entry else None
