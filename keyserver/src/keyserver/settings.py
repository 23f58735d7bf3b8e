"""What an operator can set: environment variables that begin with KEYSERVER_."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

NAME = "faceseal-keyserver"


class Settings(BaseSettings):
    """By default everything lives in one folder: database, root key and both signing keys."""

    model_config = SettingsConfigDict(env_prefix="KEYSERVER_", frozen=True, hide_input_in_errors=True)

    data: Path = Path("keyserver-data")
    database_url: SecretStr | None = None
    """SQLAlchemy URL, postgresql+psycopg://...; secret, for it may hold a password.  None: SQLite in `data`."""
    issuer: str = Field(NAME, min_length=1, max_length=200)
    audience: str = Field(NAME, min_length=1, max_length=200)
    max_body_bytes: int = Field(64 * 1024, ge=1024, le=1 << 20)
    """A longer request body is refused before it is read."""

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
        """32 bytes that wrap the tenants' KEKs."""
        return self.data / "root.key"

    @property
    def issuer_key_file(self) -> Path:
        """Ed25519 seed (32 bytes) that signs access tokens and grants."""
        return self.data / "issuer.key"

    @property
    def log_key_file(self) -> Path:
        """Ed25519 seed (32 bytes) that signs the audit log's checkpoints."""
        return self.data / "log.key"
