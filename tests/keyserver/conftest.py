"""A key server in the test's own process, on SQLite and on a real PostgreSQL; only the clock is not real."""

from __future__ import annotations

import json
import secrets
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from administrator import take_guard_away
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from moto_peer import aws_endpoint  # noqa: F401 - a fixture
from old_log import old  # noqa: F401 - a fixture
from opened_log import opened_entries
from postgresql_server import postgresql_programs, running_postgresql
from publishing_world import file, publisher_of, seconds, witnesses  # noqa: F401 - fixtures
from secret_watch import Watch, leaks, watching
from signed_proofs import fresh_proof, public_jwk
from softhsm import softhsm_driver
from sqlalchemy import RowMapping, Table, text
from starlette.testclient import TestClient
from witness_process import running_witness, witnessed_environment  # noqa: F401 - fixtures

from faceseal.keytransport import creation_info, open_key
from faceseal.wire import KeyCreated, KeyInfo, Scope, encode_base64url
from keyserver import installation
from keyserver.app import create_app
from keyserver.policy import Caller
from keyserver.proof import Proof
from keyserver.service import policies
from keyserver.service.ports import Ports
from keyserver.settings import Settings
from keyserver.store import log
from keyserver.store.database import Database
from keyserver.store.tables import Base
from keyserver.tokens.thumbprint import thumbprint

START = 1_800_000_000
EVERY_SCOPE = " ".join(Scope)
MAX_BODY_BYTES = 16 * 1024


# Decided when tests are collected: where there is no PostgreSQL there are no tests of it.
DATABASES = ["sqlite", "postgresql"] if postgresql_programs() else ["sqlite"]


# Likewise where there is no software token, and tests of PostgreSQL alone.
collect_ignore = [] if softhsm_driver() else ["test_roots_pkcs11.py"]
collect_ignore += [] if postgresql_programs() else ["test_database_trouble.py", "test_server_role.py"]


@pytest.fixture(scope="session", autouse=True)
def no_secret_in_any_log() -> Iterator[Watch]:
    """Fails the run if any line that was logged in it holds a key, a token or a grant that was made in it."""
    with watching() as watch:
        yield watch
    found = leaks(watch.lines, watch.secrets)
    # How many, and the beginnings alone: this must not be what spreads them.
    assert not found, f"{len(found)} lines of the log hold a secret: {sorted({line[:40] for line in found})[:5]}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "database_kind" in metafunc.fixturenames:
        metafunc.parametrize("database_kind", getattr(metafunc.module, "DATABASE_KINDS", DATABASES))


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """URL, without a database's name, of a PostgreSQL server that lives as long as the tests."""
    programs = postgresql_programs()
    assert programs is not None
    with running_postgresql(programs, durable=False) as url:
        yield url


def on_server(url: str, *statements: str) -> None:
    server = Database(f"{url}/postgres")
    with server.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in statements:
            connection.execute(text(statement))
    server.close()


@pytest.fixture
def empty_database(database_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Database]:
    if database_kind == "sqlite":
        database = Database(f"sqlite:///{tmp_path / 'empty.sqlite3'}")
        yield database
        database.close()
        return
    url = request.getfixturevalue("postgresql")
    name = f"empty_{uuid4().hex}"
    on_server(url, f"CREATE DATABASE {name}")
    database = Database(f"{url}/{name}")
    yield database
    database.close()
    on_server(url, f"DROP DATABASE {name}")


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = Settings(data=tmp_path_factory.mktemp("template") / "data")
    _initialise(settings)
    return settings.data


@pytest.fixture(scope="session")
def postgresql_template(postgresql: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Template]:
    """One database for all tests, for making one takes long: each test begins by putting back its rows."""
    on_server(postgresql, "CREATE DATABASE keyserver")
    settings = Settings(data=tmp_path_factory.mktemp("template") / "data", database_url=f"{postgresql}/keyserver")
    _initialise(settings)
    database = Database(settings.url)
    with database.reading() as session:
        rows = {table: [*session.execute(table.select()).mappings()] for table in Base.metadata.sorted_tables}
    yield Template(settings, database, rows)
    database.close()


@dataclass
class Template:
    """An installation, and what its database holds."""

    settings: Settings
    database: Database
    rows: dict[Table, list[RowMapping]]

    def put_back(self) -> None:
        with self.database.writing() as session:
            take_guard_away(session)
            session.execute(text(f"TRUNCATE {', '.join(table.name for table in self.rows)}"))
            for table, rows in self.rows.items():
                if rows:
                    session.execute(table.insert(), [dict(row) for row in rows])


def _initialise(settings: Settings) -> None:
    for tenant in ("default", "other"):
        installation.initialise(settings, tenant, START).database.close()


@pytest.fixture
def settings(database_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Settings:
    """An installation with the tenants `default` and `other`."""
    if database_kind == "sqlite":
        return Settings(data=shutil.copytree(request.getfixturevalue("sqlite_template"), tmp_path / "data"))
    template: Template = request.getfixturevalue("postgresql_template")
    template.put_back()
    return template.settings.model_copy(update={"data": shutil.copytree(template.settings.data, tmp_path / "data")})


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


class Clock:
    """Stands still until it is moved; seconds since 1970."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return self.now


def release_of(grant_token: str, recipient: X25519PrivateKey | None = None) -> dict[str, str]:
    """What a request for a release says."""
    public = (recipient or X25519PrivateKey.generate()).public_key().public_bytes_raw()
    return {"grant": grant_token, "recipient": encode_base64url(public)}


@dataclass
class Person:
    """Somebody with an access token and a key of their own, of which every request brings a proof."""

    world: World
    token: str
    scheme: str = "Bearer"
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @property
    def client(self) -> TestClient:
        return self.world.client

    @property
    def jkt(self) -> str:
        return thumbprint(public_jwk(self.key))

    def proof(self, method: str, path: str, **changes: Any) -> str:
        """A proof for one request, with these claims changed."""
        now, url = self.world.clock.now, f"http://testserver{path}"
        nonce = self.world.ports.nonces.fresh_nonce(now)
        return fresh_proof(self.key, method, url, self.token, now, **{"nonce": nonce, **changes})

    def headers(self, proof: str | None) -> dict[str, str]:
        headers = {"Authorization": f"{self.scheme} {self.token}"}
        return headers if proof is None else {**headers, "DPoP": proof}

    def caller(self) -> Caller:
        """As the service sees a request of theirs; each time with a proof of its own."""
        proven_key = self.jkt if self.scheme == "DPoP" else None
        claims = self.world.ports.issuer.verify_access(self.token, self.world.clock.now, proven_key)
        return replace(claims.caller(), proof=Proof(self.jkt, secrets.token_urlsafe(16), self.world.clock.now))

    def ask(self, method: str, path: str, json: object = None) -> Any:
        return self.client.request(method, path, headers=self.headers(self.proof(method, path)), json=json)

    def get(self, path: str) -> Any:
        return self.ask("GET", path)

    def post(self, path: str, json: object = None) -> Any:
        return self.ask("POST", path, json)

    def put(self, path: str, json: object = None) -> Any:
        return self.ask("PUT", path, json)

    def create_key(self, **labels: str) -> tuple[KeyInfo, bytes]:
        """A new key as the server shows it, and the image key itself."""
        mine = X25519PrivateKey.generate()
        recipient = encode_base64url(mine.public_key().public_bytes_raw())
        answer = self.post("/v1/keys", {"recipient": recipient, "labels": labels or {"album": "summer"}})
        assert answer.status_code == 201, answer.text
        created = KeyCreated.model_validate_json(answer.content)
        return created.key, open_key(created.sealed_key, mine, creation_info(created.key.id))

    def request_grant(self, *key_ids: UUID, **fields: object) -> dict[str, Any]:
        request = {"key_ids": [str(key_id) for key_id in key_ids], "purpose": "court order 17", **fields}
        answer = self.post("/v1/grants", request)
        assert answer.status_code == 201, answer.text
        grant: dict[str, Any] = answer.json()
        return grant

    def release(self, key_id: UUID, grant_token: str, recipient: X25519PrivateKey | None = None) -> Any:
        return self.post(f"/v1/keys/{key_id}/release", release_of(grant_token, recipient))


@dataclass
class World:
    """One server and whoever talks to it."""

    ports: Ports
    clock: Clock
    client: TestClient

    def person(
        self,
        subject: str,
        scope: str = EVERY_SCOPE,
        tenant: str = "default",
        key: Ed25519PrivateKey | None = None,
        roles: str = "",
    ) -> Person:
        scopes = frozenset(Scope(word) for word in scope.split())
        token = self.ports.issuer.issue_access(
            subject, tenant, scopes, uuid4(), self.clock.now, 30 * 86400, roles=frozenset(roles.split())
        )
        return Person(self, token, key=key or Ed25519PrivateKey.generate())

    def bound_person(self, subject: str) -> Person:
        """Somebody whose access token itself is bound to their key."""
        key, now = Ed25519PrivateKey.generate(), self.clock.now
        jkt = thumbprint(public_jwk(key))
        token = self.ports.issuer.issue_access(subject, "default", frozenset(Scope), uuid4(), now, 30 * 86400, jkt=jkt)
        return Person(self, token, "DPoP", key)

    def grant_token(self, requester: Person, approver: Person, *key_ids: UUID, **fields: object) -> tuple[str, str]:
        """Id and token of a grant that was requested and approved."""
        grant_id = requester.request_grant(*key_ids, **fields)["id"]
        answer = approver.post(f"/v1/grants/{grant_id}/approve")
        assert answer.status_code == 200, answer.text
        return grant_id, requester.get(f"/v1/grants/{grant_id}").json()["token"]

    def last_entry(self) -> dict[str, Any]:
        return self.entries()[-1]

    def entries(self, first: int = 0) -> list[dict[str, Any]]:
        """All entries from this one on, with what they say of people where version 1 has it."""
        with self.ports.database.reading() as session:
            return opened_entries(session, self.ports.root, list(log.leaves(session, 1 << 40))[first:])

    def set_policy(self, tenant: str = "default", **policy: Any) -> int:
        return policies.set_policy(self.ports, tenant, policies.parse_policy(json.dumps(policy).encode()))

    def leaves(self) -> list[str]:
        with self.ports.database.reading() as session:
            return list(log.leaves(session, 1 << 40))


@dataclass
class Granted:
    """A release that somebody may ask for five times."""

    requester: Person
    path: str
    grant_id: str
    token: str

    def body(self, token: str | None = None) -> dict[str, str]:
        return release_of(token or self.token)

    def asked(self, headers: dict[str, str], client: TestClient | None = None, token: str | None = None) -> Any:
        """The answer to a request for the release with these headers."""
        return (client or self.requester.client).post(self.path, headers=headers, json=self.body(token))

    def uses_left(self) -> int:
        left: int = self.requester.get(f"/v1/grants/{self.grant_id}").json()["uses_left"]
        return left


@pytest.fixture
def granted(world: World, alice: Person, bob: Person) -> Granted:
    key, _ = alice.create_key()
    grant_id, token = world.grant_token(alice, bob, key.id, uses=5)
    return Granted(alice, f"/v1/keys/{key.id}/release", grant_id, token)


@pytest.fixture
def world(settings: Settings) -> Iterator[World]:
    clock = Clock()
    ports = installation.open_ports(settings, clock)
    with TestClient(create_app(ports, MAX_BODY_BYTES), raise_server_exceptions=False) as client:
        yield World(ports, clock, client)
    ports.database.close()


@pytest.fixture
def alice(world: World) -> Person:
    return world.person("alice")


@pytest.fixture
def bob(world: World) -> Person:
    return world.person("bob")
