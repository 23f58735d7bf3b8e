"""Which issuers' tokens count, and what they may say: the operator's file, parsed strictly.

The file is a JSON list; docs/operating/identity.md describes its members.
"""

from __future__ import annotations

import ipaddress
import os
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from faceseal.wire import Role, Scope, ShortText
from keyserver.errors import SetupError
from keyserver.tokens.claims import TenantName
from keyserver.tokens.jws import Algorithm
from keyserver.tokens.strictjson import parse_json

MAX_FILE_BYTES = 1 << 20
MAX_ISSUERS = 100
_WELL_KNOWN = {"openid": "openid-configuration", "oauth": "oauth-authorization-server"}


def split_url(text: str) -> SplitResult:
    """An address that keys may be fetched from: https, or http on a loopback host.

    Raises ValueError for anything else, and for user names, fragments, spaces and what is not
    ASCII.
    """
    if not (0 < len(text) <= 2000 and text.isascii() and text.isprintable()) or " " in text or "\\" in text:
        raise ValueError("not a URL")
    parts = urlsplit(text)
    if not parts.hostname or "@" in parts.netloc or "#" in text or parts.port == 0:
        raise ValueError("not a plain URL")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname)):
        raise ValueError("the URL is neither https nor on a loopback host")
    return parts


def is_loopback(host: str) -> bool:
    """Whether the host is this machine itself, without asking a name server."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _address(text: str) -> str:
    split_url(text)
    return text


def _identifier(text: str) -> str:
    if split_url(text).query or text.endswith("?"):
        raise ValueError("an issuer has no query")
    return text


Url = Annotated[str, AfterValidator(_address)]
IssuerUrl = Annotated[ShortText, AfterValidator(_identifier)]
"""RFC 8414, section 2: compared character by character."""
ClaimPath = ShortText | Annotated[tuple[ShortText, ...], Field(min_length=1, max_length=8)]
"""A claim's name, or the names on the way to one inside of others."""
SubjectPrefix = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,30}:$")]
"""Its colon is its last character, so no prefix begins with another one."""


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class TenantRule(_Closed):
    """For which tenant a token speaks: always the same, or the one that a claim names."""

    fixed: TenantName | None = None
    claim: ClaimPath | None = None
    among: frozenset[TenantName] | None = Field(None, min_length=1)
    """With `claim`: the only tenants that this issuer may name; absent, any."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.fixed is None) == (self.claim is None) or (self.among is not None and self.claim is None):
            raise ValueError("either fixed, or claim and perhaps among")
        return self


class ScopeRule(_Closed):
    """Which of the issuer's words, in which claim, stand for which scopes; other words stand for none."""

    claim: ClaimPath
    map: Annotated[dict[ShortText, frozenset[Scope]], Field(min_length=1, max_length=1000)]


class RoleRule(_Closed):
    """Which of the issuer's words, in which claim, stand for which roles of tenants' policies; others for none."""

    claim: ClaimPath
    map: Annotated[dict[ShortText, frozenset[Role]], Field(min_length=1, max_length=1000)]


class IssuerConfig(_Closed):
    """One issuer whose tokens count."""

    issuer: IssuerUrl
    audience: ShortText
    jwks_uri: Url | None = None
    discovery: Literal["openid", "oauth"] | None = None
    algorithms: Annotated[frozenset[Algorithm], Field(min_length=1)]
    tenant: TenantRule
    scopes: ScopeRule
    roles: RoleRule | None = None
    token_types: Annotated[frozenset[ShortText], Field(min_length=1, max_length=4)] = frozenset({"at+jwt"})
    subject_prefix: SubjectPrefix

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.jwks_uri is None) == (self.discovery is None):
            raise ValueError("either jwks_uri or discovery")
        return self

    @property
    def metadata_url(self) -> str | None:
        """Where the issuer describes itself, if its keys are found this way.

        OpenID Connect Discovery 1.0, section 4, appends to the issuer; RFC 8414, section 3,
        inserts between host and path.
        """
        if self.discovery is None:
            return None
        parts, name = urlsplit(self.issuer), _WELL_KNOWN[self.discovery]
        path = parts.path.rstrip("/")
        ordered = f"{path}/.well-known/{name}" if self.discovery == "openid" else f"/.well-known/{name}{path}"
        return f"{parts.scheme}://{parts.netloc}{ordered}"


_FILE = TypeAdapter(Annotated[tuple[IssuerConfig, ...], Field(max_length=MAX_ISSUERS)])


def read_issuers(path: Path) -> tuple[IssuerConfig, ...]:
    """The issuers of the operator's file.

    Raises SetupError if it cannot be read, others than its owner may write to it, or it does
    not say exactly one thing.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            document = file.read(MAX_FILE_BYTES + 1)
    except OSError as cause:
        raise SetupError(f"cannot read {path}: {cause.strerror}") from None
    if mode & 0o022:
        raise SetupError(f"{path} can be written to by others than its owner; run: chmod go-w {path}")
    if len(document) > MAX_FILE_BYTES:
        raise SetupError(f"{path} is longer than {MAX_FILE_BYTES} bytes")
    try:
        return parse_issuers(document)
    except ValueError as cause:
        raise SetupError(f"{path}: {cause}") from None


def parse_issuers(document: bytes) -> tuple[IssuerConfig, ...]:
    """Raises ValueError that says where the document is wrong, without quoting it."""
    parse_json(document)
    try:
        issuers = _FILE.validate_json(document)
    except ValidationError as cause:
        found = [f"{_place(each['loc'])}: {each['msg']}" for each in cause.errors()[:3]]
        raise ValueError("; ".join(found)) from None
    for name in ("issuer", "subject_prefix"):
        value, times = Counter(getattr(issuer, name) for issuer in issuers).most_common(1)[0] if issuers else ("", 0)
        if times > 1:
            raise ValueError(f"two issuers have the {name} {value}")
    return issuers


def _place(where: tuple[int | str, ...]) -> str:
    return ".".join(str(part)[:64] for part in where) or "the whole file"
