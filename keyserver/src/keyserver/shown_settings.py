"""Settings as they may be shown: what is in force, in words that an environment file would hold, and no secret."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from urllib.parse import urlsplit

from pydantic import SecretStr
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from keyserver.rates import Rate
from keyserver.settings import Settings

NOT_SET = "none"
_PREFIX = "KEYSERVER_"
_URLS = {"external_url", "traces_endpoint", "vault_url"}


def shown_settings(settings: Settings) -> Iterator[tuple[str, str]]:
    """Name and value of every setting, in the order in which they are declared."""
    for name in Settings.model_fields:
        yield f"{_PREFIX}{name}".upper(), shown(name, getattr(settings, name))


def shown(name: str, value: object) -> str:
    """One setting's value, on one line; of a URL only what says where it leads."""
    if value is None or value == "" or value == ():
        return NOT_SET
    if isinstance(value, SecretStr):
        return _database(value.get_secret_value())
    if name in _URLS:
        return _without_credentials(str(value))
    if isinstance(value, Mapping):
        return _rates(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(f'"{each}"' for each in value) + "]"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value.value if isinstance(value, Enum) else value)


def _database(url: str) -> str:
    """Kind, host, port and name: user, password and options stay out, for a password may be in any of the three."""
    try:
        parts = make_url(url)
    except (ArgumentError, ValueError):
        return "(not a database's URL)"
    host = f"//{parts.host or ''}{f':{parts.port}' if parts.port else ''}"
    return f"{parts.drivername}:{host}/{parts.database or ''}"


def _without_credentials(url: str) -> str:
    """Without user, password, query and fragment."""
    try:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    except ValueError:
        return "(not a URL)"


def _rates(rates: Mapping[object, Rate]) -> str:
    return ",".join(f"{kind}={rate.per_second}" for kind, rate in rates.items()) or NOT_SET
