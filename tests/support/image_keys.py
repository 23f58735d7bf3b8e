"""Image keys straight into and out of an installation's database, by its own root: quicker than over HTTP."""

from __future__ import annotations

import os
from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import select

from faceseal.wire import KeyState
from keyserver import keywrap
from keyserver.service.ports import Ports
from keyserver.store import queries
from keyserver.store.tables import KekRow, KeyRow


def add_keys(ports: Ports, count: int, tenant: str = "default") -> dict[UUID, bytes]:
    """Image keys under the tenant's newest KEK, in one transaction."""
    made = {ports.new_id(): os.urandom(32) for _ in range(count)}
    with ports.database.writing() as session:
        row = queries.current_kek(session, tenant)
        assert row is not None
        kek = keywrap.open_kek(ports.root, row.wrapped, tenant, row.epoch)
        for key_id, image_key in made.items():
            wrapped = keywrap.wrap_image_key(kek, image_key, key_id, os.urandom)
            fields = {"state": KeyState.ACTIVE, "created_at": 1, "created_by": "alice", "labels": {}}
            fields |= {"suite": keywrap.SUITE, "kek_epoch": row.epoch, "wrapped": wrapped}
            session.add(KeyRow(id=key_id, tenant=tenant, **fields))
    return made


def opened(ports: Ports, key_ids: Iterable[UUID]) -> dict[UUID, bytes]:
    """Each key as the database and the root give it now."""
    found = {}
    with ports.database.reading() as session:
        for row in session.scalars(select(KeyRow).where(KeyRow.id.in_(list(key_ids)))):
            held = session.get_one(KekRow, (row.tenant, row.kek_epoch))
            kek = keywrap.open_kek(ports.root, held.wrapped, held.tenant, held.epoch)
            found[row.id] = kek.unwrap(row.wrapped, row.id, row.suite)
    return found
