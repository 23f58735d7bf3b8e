"""make bench-server: audited releases per second by two replicas on PostgreSQL, beside the floor of this stack.

Access tokens and grants are bound to a client's key, each release brings a proof of it (DPoP)
that is made just before the clock starts.  Commits wait for the disk.  Clients, both replicas
and the database share this machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy import text

sys.path.append(str(Path(__file__).parents[1] / "support"))

from floor import Row
from load import Load, ask
from postgresql_server import postgresql_programs, running_postgresql
from signed_proofs import fresh_proof, public_jwk

from faceseal.wire import CreateKey, Release, RequestGrant, Scope
from keyserver import installation
from keyserver.proof import Proof
from keyserver.service import grants, keys
from keyserver.service.ports import Ports
from keyserver.settings import Settings
from keyserver.store.database import Database
from keyserver.tokens.thumbprint import thumbprint

REPLICAS = 2
CLIENTS = (1, 8, 64)
REQUESTS = {1: 400, 8: 2000, 64: 6000}
"""Of each kind, by clients."""
KEYS = 64
HOST = "localhost"


def main() -> None:
    programs = postgresql_programs()
    if programs is None:
        sys.exit("PostgreSQL's server programs are not installed: apt install postgresql")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(running_postgresql(programs, durable=True))
        settings = _installed(folder / "data", url)
        ports = installation.open_ports(settings)
        with ports.database.writing() as session:
            session.execute(text("CREATE TABLE floor (id TEXT PRIMARY KEY, value TEXT)"))
        floor = [stack.enter_context(_floor(settings)) for _ in range(REPLICAS)]
        replicas = [stack.enter_context(_replica(settings)) for _ in range(REPLICAS)]
        releases = _releases(ports, sum(REQUESTS.values()) + 200)
        inserts = _inserts()
        ask(floor, [next(inserts) for _ in range(200)], 8)
        ask(replicas, [next(releases) for _ in range(200)], 8)
        print(f"{REPLICAS} replicas      clients   answers/s   p50 ms   p99 ms   p99/p50")
        for clients in CLIENTS:
            least = ask(floor, [next(inserts) for _ in range(REQUESTS[clients])], clients)
            _print("committed INSERT", least)
            # Proofs are good for a minute, and so are made now and not before.
            reached = ask(replicas, [next(releases) for _ in range(REQUESTS[clients])], clients)
            _print("audited release", reached)
            print(f"                    releases are {reached.rate / least.rate:.0%} of the floor")


def _print(name: str, load: Load) -> None:
    middle, slow = load.percentile(50), load.percentile(99)
    print(f"{name:17}{load.clients:9}{load.rate:12,.0f}{middle:9.1f}{slow:9.1f}{slow / middle:10.1f}", flush=True)


def _installed(data: Path, url: str) -> Settings:
    server = Database(f"{url}/postgres")
    with server.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("CREATE DATABASE keyserver"))
    server.close()
    settings = Settings(data=data, database_url=f"{url}/keyserver")
    installation.initialise(settings, "default", int(time.time())).database.close()
    return settings


def _releases(ports: Ports, count: int) -> Iterator[bytes]:
    """Requests for `count` releases of different keys under different grants, by one requester with one key."""
    now, client_key = ports.clock(), Ed25519PrivateKey.generate()
    jkt = thumbprint(public_jwk(client_key))
    tokens = [
        ports.issuer.issue_access(name, "default", frozenset(Scope), uuid4(), now, 3600, jkt=jkt)
        for name in ("alice", "bob")
    ]
    alice, bob = (ports.issuer.verify_access(token, now, jkt).caller() for token in tokens)
    mine = X25519PrivateKey.generate().public_key().public_bytes_raw()
    granted: list[tuple[UUID, str]] = []
    for _ in range(KEYS):
        key_id = keys.create_key(ports, alice, CreateKey(recipient=mine)).key.id
        asked = RequestGrant(key_ids=[key_id], purpose="measurement", uses=min(1000, count), valid_for=3600)
        proven = replace(alice, proof=Proof(jkt, str(uuid4()), now))
        grant_id = grants.request_grant(ports, proven, asked).id
        grants.approve_grant(ports, bob, grant_id)
        token = grants.get_grant(ports, alice, grant_id).token
        assert token is not None
        granted.append((key_id, token))
    for number in range(count):
        key_id, token = granted[number % KEYS]
        body, path = Release(grant=token, recipient=mine).model_dump_json(), f"/v1/keys/{key_id}/release"
        now = ports.clock()
        nonce = ports.nonces.fresh_nonce(now)
        proof = fresh_proof(client_key, "POST", f"http://{HOST}{path}", tokens[0], now, nonce=nonce)
        yield _post(path, body, f"Authorization: DPoP {tokens[0]}\r\nDPoP: {proof}\r\n")


def _inserts() -> Iterator[bytes]:
    """Requests for rows, each as long as one for a release."""
    while True:
        yield _post("/insert", Row(grant="g" * 600, recipient=str(uuid4())).model_dump_json())


def _post(path: str, body: str, credentials: str = "") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n{credentials}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


@contextmanager
def _replica(settings: Settings) -> Iterator[int]:
    environment = {"KEYSERVER_DATA": str(settings.data), "KEYSERVER_DATABASE_URL": settings.url}
    # Two clients ask for everything: the limits are applied, but higher than anybody gets.
    environment |= {f"KEYSERVER_{name}_RATES": "create=100000,release=100000" for name in ("CLIENT", "TENANT")}
    with _running([sys.executable, "-m", "keyserver", "serve", "--port", "0"], environment) as port:
        yield port


@contextmanager
def _floor(settings: Settings) -> Iterator[int]:
    script = Path(__file__).with_name("floor.py")
    with _running([sys.executable, str(script), settings.url], {}) as port:
        yield port


@contextmanager
def _running(command: Sequence[str], environment: dict[str, str]) -> Iterator[int]:
    """The port at the end of the process's first line, once it is ready; it is ended with the block."""
    # Logs are written, as they would be, but not between the figures.
    logs = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
    environment = {**os.environ, **environment}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=logs, text=True, env=environment)
    assert process.stdout is not None
    try:
        line = process.stdout.readline().strip()
        if not line:
            logs.seek(0)
            sys.exit(f"a server did not start: {logs.read().decode()}")
        yield int(line.rsplit(":", 1)[1])
    finally:
        process.terminate()
        process.wait(20)


if __name__ == "__main__":
    main()
