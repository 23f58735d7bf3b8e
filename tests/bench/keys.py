"""make bench-keys: wrapped, stored and audited keys per second in batches of 1,000, beside the database's own floor.

The floor is the same number of rows of the same tables, inserted by one connection in batches of
1,000 keys with a commit each, by the quickest way that the database has (COPY) and by INSERT.
Commits wait for the disk.  Client, server and database share this machine.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy import func, insert, select

sys.path.append(str(Path(__file__).parents[1] / "support"))

from load import ask
from postgresql_server import postgresql_programs, running_postgresql
from server import _installed, _post, _replica

from faceseal.wire import CreateKeys, KeyState, NewKey, Scope
from keyserver import installation
from keyserver.service import batches
from keyserver.service.ports import Ports
from keyserver.store.bulk import insert_rows
from keyserver.store.index import COLUMNS as INDEX_COLUMNS
from keyserver.store.tables import Base, EntryRow, IndexKeyRow, IndexRow, KeyRow, NodeRow

SIZE = 1000
ROUNDS = 40
COLUMNS: dict[type[Base], tuple[str, ...]] = {
    KeyRow: ("id", "tenant", "state", "created_at", "created_by", "labels", "kek_epoch", "suite", "wrapped"),
    EntryRow: ("entry_index", "leaf"),
    NodeRow: ("level", "position", "hash"),
    IndexRow: INDEX_COLUMNS,
    IndexKeyRow: ("key_id", "entry_index"),
}
ABOVE = 1 << 40
"""Where the floor's log rows lie, out of the real log's way."""


def main() -> None:
    programs = postgresql_programs()
    if programs is None:
        sys.exit("PostgreSQL's server programs are not installed: apt install postgresql")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = _installed(folder / "data", stack.enter_context(running_postgresql(programs, durable=True)))
        ports = installation.open_ports(settings)
        token = ports.issuer.issue_access("camera", "default", frozenset(Scope), uuid4(), ports.clock(), 3600)
        recipient = X25519PrivateKey.generate().public_key().public_bytes_raw()
        request = CreateKeys(recipient=recipient, keys=[NewKey()] * SIZE)
        caller = ports.issuer.verify_access(token, ports.clock()).caller()
        leaf = _a_leaf(ports, partial(batches.create_keys, ports, caller, request))
        _print("at the service", _timed(ports, lambda: batches.create_keys(ports, caller, request)))
        asked = [_post("/v1/keys/batch", request.model_dump_json(), f"Authorization: Bearer {token}\r\n")] * ROUNDS
        server = stack.enter_context(_replica(settings))
        ask([server], asked[:2], 1, 201)
        for clients in (1, 2):
            load = ask([server], asked, clients, 201)
            _print(f"over HTTP, {clients} client{'s' * (clients > 1)}", load.rate * SIZE)
        # Last: no server starts on a log with such rows.
        for name, bulk in (("rows by COPY", True), ("rows by INSERT", False)):
            _print(f"floor: {name}", _timed(ports, partial(_insert, ports, leaf, bulk=bulk)))


def _a_leaf(ports: Ports, create: Callable[[], object]) -> str:
    """An entry as long as the real ones."""
    create()
    with ports.database.reading() as session:
        last = select(func.max(EntryRow.entry_index)).scalar_subquery()
        return session.scalars(select(EntryRow.leaf).where(EntryRow.entry_index == last)).one()


def _timed(ports: Ports, batch: Callable[[], object]) -> float:
    """Keys per second."""
    batch()
    started = time.perf_counter()
    for _ in range(ROUNDS):
        batch()
    return ROUNDS * SIZE / (time.perf_counter() - started)


def _insert(ports: Ports, leaf: str, *, bulk: bool) -> None:
    """The rows of one batch of keys: a key, an entry, two nodes, and two rows of the index each."""
    start = ABOVE + int.from_bytes(os.urandom(4)) * 2 * SIZE
    fixed = ("default", KeyState.ACTIVE, 1, "camera", {}, 1, "A256GCM")
    found = ("default", 1, "key.create", "allowed", uuid4(), None, None, 1)
    rows: dict[type[Base], list[tuple[object, ...]]] = {
        KeyRow: [(uuid4(), *fixed, os.urandom(60)) for _ in range(SIZE)],
        EntryRow: [(start + number, leaf) for number in range(SIZE)],
        NodeRow: [(0, start + number, os.urandom(32)) for number in range(2 * SIZE)],
        IndexRow: [(start + number, *found) for number in range(SIZE)],
        IndexKeyRow: [(uuid4(), start + number) for number in range(SIZE)],
    }
    with ports.database.writing() as session:
        for table, columns in COLUMNS.items():
            if bulk:
                insert_rows(session, table, columns, rows[table])
            else:
                session.execute(insert(table), [dict(zip(columns, row, strict=True)) for row in rows[table]])


def _print(name: str, rate: float) -> None:
    print(f"{name:24}{rate:10,.0f} keys/s", flush=True)


if __name__ == "__main__":
    main()
