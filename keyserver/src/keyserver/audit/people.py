"""The people whom entries are about, with the key of each; whoever is new is made, in the same transaction."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.orm import Session

from keyserver.audit.entry import Entry
from keyserver.audit.personal import Subject, new_key, seal_person_key
from keyserver.errors import SetupError
from keyserver.store import log, subjects


def people_of(session: Session, entries: Sequence[Entry]) -> dict[subjects.Name, Subject]:
    """Whom the entries name.  Takes no root: new keys are sealed to the log's reader.

    To be called before the log is locked.  Raises SetupError if the log has no reader.
    """
    names = {entry.person for entry in entries if entry.person is not None}
    if not names:
        return {}
    found = subjects.held(session, names)
    # Once more only if somebody whom another transaction has just made was erased at once.
    while missing := sorted(names - found.keys()):
        reader = _reader(session)
        subjects.add(session, [_new(tenant, name, reader) for tenant, name in missing])
        found |= subjects.held(session, missing)
    return {name: Subject(row.id, row.public) for name, row in found.items()}


def _reader(session: Session) -> bytes:
    public = log.reader(session)
    if public is None:
        raise SetupError("the audit log has no key to read what it says of people; run: keyserver init")
    return public


def _new(tenant: str, name: str, reader: bytes) -> dict[str, str | bytes | UUID]:
    pseudonym = subjects.new_pseudonym()
    private, public = new_key()
    sealed = seal_person_key(private, reader, tenant, pseudonym)
    return {"id": pseudonym, "tenant": tenant, "name": name, "public": public, "sealed": sealed}
