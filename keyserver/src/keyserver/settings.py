"""What an operator can set: environment variables that begin with KEYSERVER_."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from keyserver.keywrap.root import RootKind
from keyserver.limits import Limits
from keyserver.rates import Rates, parse_rates
from keyserver.sinks.addresses import check_address
from keyserver.store.database import Pool
from keyserver.tokens.targeturl import normalized_url

NAME = "faceseal-keyserver"
RatesSetting = Annotated[Rates, NoDecode, BeforeValidator(lambda value: _rates(value))]


def _rates(value: object) -> object:
    return parse_rates(value) if isinstance(value, str) else value


def _base_url(text: str) -> str:
    if "?" in text or "#" in text:
        raise ValueError("a base URL has neither query nor fragment")
    return normalized_url(text)


class Settings(BaseSettings):
    """By default everything lives in one folder: database, root key and both signing keys."""

    model_config = SettingsConfigDict(env_prefix="KEYSERVER_", frozen=True, hide_input_in_errors=True)

    data: Path = Path("keyserver-data")
    database_url: SecretStr | None = None
    """SQLAlchemy URL, postgresql+psycopg://...; secret, for it may hold a password.  None: SQLite in `data`."""
    issuer: str = Field(NAME, min_length=1, max_length=200)
    audience: str = Field(NAME, min_length=1, max_length=200)
    issuers: Path | None = None
    """JSON file of the other issuers whose access tokens count; None: only the built-in one's do."""
    external_url: Annotated[str, AfterValidator(_base_url)] | None = None
    """What clients ask for in place of this server's own address, with the path that a proxy takes away.

    None: scheme and host are those of the request itself, which is right only without a proxy.
    """
    max_body_bytes: int = Field(64 * 1024, ge=1024, le=1 << 20)
    """A longer request body is refused before it is read."""
    max_batch_bytes: int = Field(1 << 20, ge=64 * 1024, le=4 << 20)
    """The same for the one route that creates many keys; 1,000 keys with every label there may be take 2.3 MB."""
    destruction_wait_seconds: int = Field(7 * 86400, ge=3600, le=365 * 86400)
    """From the decision to destroy a key to its destruction; until then it can be cancelled."""

    root: RootKind = RootKind.FILE
    """What wraps the tenants' KEKs; the settings below say where it is."""
    root_file: Path | None = None
    """None: root.key in `data`."""
    pkcs11_module: Path | None = None
    """The driver, a shared library."""
    pkcs11_token: str = Field("", max_length=32)
    pkcs11_key: str = Field("keyserver-root", min_length=1, max_length=200)
    pkcs11_pin_file: Path | None = None
    pkcs11_mechanism: Literal["aes-gcm", "aes-kwp"] = "aes-gcm"
    aws_kms_key: str = Field("", max_length=2048)
    """Key id or ARN; region and credentials come from AWS's own settings."""
    vault_url: str = Field("", max_length=2048)
    vault_mount: str = Field("transit", pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$", max_length=200)
    vault_key: str = Field("keyserver-root", pattern=r"^[A-Za-z0-9_.-]+$", max_length=200)
    vault_token_file: Path | None = None
    root_seconds: float = Field(10, gt=0, le=60)
    """A root that has not answered by then does not answer."""
    kek_cache_seconds: int = Field(300, ge=0, le=3600)
    """How long a replica remembers a KEK that a remote root has opened."""

    webhook_networks: tuple[IPv4Network | IPv6Network, ...] = Field((), max_length=100)
    """JSON list of networks, such as ["10.1.0.0/16"], that webhooks may go to though they are not public."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    metrics_listen: str | None = Field(None, pattern=r"^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}$")
    """HOST:PORT on which Prometheus is answered, to whoever can reach it; None: nowhere."""
    traces_endpoint: str | None = Field(None, pattern=r"^https?://", max_length=2048)
    """Whole URL of an OTLP collector, such as http://127.0.0.1:4318/v1/traces; None: no traces."""
    database_connections: int = Field(20, ge=2, le=500)
    """Of this replica."""
    database_seconds: int = Field(10, ge=1, le=60)
    """How long anything waits for a connection or a lock."""
    requests_at_once: int = Field(256, ge=1, le=10_000)
    """Of this replica; whoever comes above that is answered with 503."""
    request_seconds: float = Field(30, gt=0, le=300)
    """A request that takes longer is answered with 503."""
    max_header_bytes: int = Field(16 * 1024, ge=4096, le=64 * 1024)
    header_seconds: float = Field(10, gt=0, le=60)
    """A connection that has not sent a request's head by then is closed."""
    shutdown_seconds: int = Field(10, ge=0, le=300)
    """How long requests in progress may take to end after SIGTERM."""
    checkpoint_file: Path | None = None
    """A checkpoint of the audit log that was kept elsewhere; the server does not start behind it."""
    checkpoint_sinks: tuple[Annotated[str, AfterValidator(check_address)], ...] = Field((), max_length=20)
    """JSON list of where checkpoints are pushed to, and compared with: file:///, s3:// and witnesses' https:// URLs."""
    checkpoint_witnesses: tuple[str, ...] = Field((), max_length=12)
    """JSON list of the verifier keys of the witnesses whose cosignatures count."""
    checkpoint_quorum: int = Field(1, ge=1, le=12)
    """How many of them must have cosigned a checkpoint."""
    checkpoint_push_seconds: float = Field(5, ge=0.1, le=3600)
    """Between two looks at the log, which is pushed if it has grown."""
    checkpoint_unwitnessed_seconds: int | None = Field(None, ge=10, le=30 * 86400)
    """For how long an entry may lack witnesses before no key is released any more; None: for ever.

    At least three times `checkpoint_push_seconds` and ten (see `sinks.opening`).
    """
    audit_keep_days: int = Field(365, ge=2, le=36500)
    """Younger entries of the audit log are never put away.  Two days: kept answers read theirs for one."""
    client_rates: RatesSetting = parse_rates("create=50,release=100,read=100,other=50")
    """What one client may do in a second on average, by kind; ten seconds' worth at once; 0: no limit."""
    tenant_rates: RatesSetting = parse_rates("create=500,release=1000,read=1000,other=500")
    """The same for all clients of a tenant together."""
    failed_authentications: int = Field(600, ge=0, le=1_000_000)
    """Tokens that do not count, from one address in a minute; above, that address gets 429.  0: no limit."""
    trusted_proxies: str = Field("", max_length=2000)
    """Addresses or networks, with commas, whose X-Forwarded-For counts."""

    @property
    def limits(self) -> Limits:
        """How much of everything this replica takes on."""
        return Limits(
            requests_at_once=self.requests_at_once,
            request_seconds=self.request_seconds,
            per_client=self.client_rates,
            per_tenant=self.tenant_rates,
            failed_authentications=self.failed_authentications,
        )

    @property
    def pool(self) -> Pool:
        """How many connections to the database, and how patient."""
        return Pool(self.database_connections, self.database_seconds)

    @property
    def url(self) -> str:
        """The database's SQLAlchemy URL."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.database_file}"

    @property
    def database_file(self) -> Path:
        """The SQLite file, if no other database is set."""
        return self.data / "keyserver.sqlite3"

    @property
    def root_key_file(self) -> Path:
        """32 bytes that wrap the tenants' KEKs, if the root is a file."""
        return self.root_file if self.root_file is not None else self.data / "root.key"

    @property
    def issuer_key_file(self) -> Path:
        """Ed25519 seed (32 bytes) that signs access tokens and grants."""
        return self.data / "issuer.key"

    @property
    def log_key_file(self) -> Path:
        """Ed25519 seed (32 bytes) that signs the audit log's checkpoints."""
        return self.data / "log.key"

    @property
    def nonce_key_file(self) -> Path:
        """32 bytes from which DPoP nonces are made; the same on every replica."""
        return self.data / "nonce.key"
