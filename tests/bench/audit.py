"""make bench-audit: entries appended to the audit log per second, beside the database's own commits of one row.

On SQLite and on PostgreSQL, both with commits that wait for the disk: first one connection
inserts a row a commit (the floor); then one transaction after the other appends a batch of
entries, alone; then threads release keys at the service, where those that come together share
a transaction.  Exits with 1 unless batches of 64 and more append at least three times as many
entries as the database alone commits rows.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy import text

sys.path.append(str(Path(__file__).parents[1] / "support"))

from postgresql_server import postgresql_programs, running_postgresql
from server import _installed
from signed_proofs import public_jwk

from faceseal.wire import CreateKey, Release, RequestGrant, Scope
from keyserver import audit, installation
from keyserver.actions import Action
from keyserver.audit import Entry, Outcome
from keyserver.policy import Caller
from keyserver.proof import Proof
from keyserver.service import grants, keys
from keyserver.service.ports import Ports
from keyserver.service.release import Releases
from keyserver.settings import Settings
from keyserver.tokens.thumbprint import thumbprint

BATCHES = (1, 8, 64, 512)
THREADS = (1, 8, 64)
SECONDS = 5.0
"""Of each measurement."""
GRANTED_KEYS = 64
USES = 1000
"""The most that a policy allows: enough for the seconds of one thread."""
REQUIRED = 3.0
FROM = 64
"""Batches of this size and more must reach `REQUIRED` times the database's own commits."""
ENTRY = Entry(
    at=1_800_000_000,
    action=Action.RELEASE,
    outcome=Outcome.ALLOWED,
    actor="somebody@news.example",
    tenant="default",
    token_id=str(uuid4()),
    jkt="j" * 43,
    key_id=uuid4(),
    grant_id=uuid4(),
    recipient=bytes(32),
    uses_left=1,
)


@dataclass(frozen=True)
class Measured:
    """How many a second, and how long each took (seconds)."""

    rate: float
    times: list[float]


def main() -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = Settings(data=folder / "sqlite")
        installation.initialise(settings, "default", int(time.time())).database.close()
        databases = {"SQLite": settings}
        programs = postgresql_programs()
        if programs is None:
            print("PostgreSQL's server programs are not installed: SQLite alone is measured")
        else:
            url = stack.enter_context(running_postgresql(programs, durable=True))
            databases["PostgreSQL"] = _installed(folder / "postgresql", url)
        factors = [factor for name, chosen in databases.items() for factor in _measured(name, chosen)]
    sys.exit(0 if min(factors) >= REQUIRED else 1)


def _measured(name: str, settings: Settings) -> Iterator[float]:
    """Prints the database's table; the factors that count."""
    ports = installation.open_ports(settings)
    print(f"{name:38}      a second    p50 ms    p99 ms    factor", flush=True)
    with ports.database.writing() as session:
        session.execute(text("CREATE TABLE floor (id TEXT PRIMARY KEY, value TEXT)"))
    floor = _alone(partial(_commit_one_row, ports), 1)
    _print("commits of one row", floor, floor)
    for size in BATCHES:
        batch = _alone(partial(_append, ports, size), size)
        _print(f"entries, {size} in a transaction", batch, floor)
        if size >= FROM:
            yield batch.rate / floor.rate
    for threads in THREADS:
        _print(f"audited releases, {threads} threads", _releases(ports, threads), floor)
    ports.database.close()


def _commit_one_row(ports: Ports) -> None:
    with ports.database.writing() as session:
        values = {"id": str(uuid4()), "value": ENTRY.leaf(1)}
        session.execute(text("INSERT INTO floor (id, value) VALUES (:id, :value)"), values)


def _append(ports: Ports, size: int) -> None:
    with ports.database.writing() as session:
        appended = audit.append_all(session, [ENTRY] * size)
    ports.signer.sign(appended[-1].checkpoint)


def _alone(work: Callable[[], None], size: int) -> Measured:
    """One after the other; the first is not counted."""
    work()
    times, began = [], time.perf_counter()
    while (now := time.perf_counter()) < began + SECONDS:
        work()
        times.append(time.perf_counter() - now)
    return Measured(size * len(times) / (time.perf_counter() - began), times)


def _releases(ports: Ports, threads: int) -> Measured:
    releases, asked = Releases(ports), _granted(ports)
    times: list[float] = []
    ends = time.perf_counter() + SECONDS

    def work(number: int) -> None:
        turn = number
        while (now := time.perf_counter()) < ends:
            caller, key_id, request = asked[turn % len(asked)]
            turn += 1
            proof = replace(caller.proof or Proof("", "", 0), jti=str(uuid4()))
            releases.release(replace(caller, proof=proof), key_id, request)
            times.append(time.perf_counter() - now)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    began = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return Measured(len(times) / (time.perf_counter() - began), times)


def _granted(ports: Ports) -> list[tuple[Caller, UUID, Release]]:
    """Releases that may be asked for `USES` times each, by one requester."""
    now, jkt = ports.clock(), thumbprint(public_jwk(Ed25519PrivateKey.generate()))
    tokens = [
        ports.issuer.issue_access(who, "default", frozenset(Scope), uuid4(), now, 3600, jkt=jkt)
        for who in ("alice", "bob")
    ]
    alice, bob = (ports.issuer.verify_access(token, now, jkt).caller() for token in tokens)
    mine = X25519PrivateKey.generate().public_key().public_bytes_raw()
    granted = []
    for _ in range(GRANTED_KEYS):
        key_id = keys.create_key(ports, alice, CreateKey(recipient=mine)).key.id
        proven = replace(alice, proof=Proof(jkt, str(uuid4()), now))
        asked = RequestGrant(key_ids=[key_id], purpose="measurement", uses=USES, valid_for=3600)
        grant_id = grants.request_grant(ports, proven, asked).id
        grants.approve_grant(ports, bob, grant_id)
        token = grants.get_grant(ports, alice, grant_id).token
        assert token is not None
        granted.append((proven, key_id, Release(grant=token, recipient=mine)))
    return granted


def _print(what: str, measured: Measured, floor: Measured) -> None:
    middle = statistics.median(measured.times)
    slow = statistics.quantiles(measured.times, n=100)[98]
    times = f"{1000 * middle:10.1f}{1000 * slow:10.1f}"
    print(f"  {what:38}{measured.rate:12,.0f}{times}{measured.rate / floor.rate:10.1f}", flush=True)


if __name__ == "__main__":
    main()
