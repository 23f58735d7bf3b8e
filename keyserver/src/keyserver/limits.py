"""How much of everything one replica takes on."""

from __future__ import annotations

from dataclasses import dataclass, field

from keyserver.rates import Rates


def _none() -> Rates:
    return {}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Above these, requests are refused at once."""

    requests_at_once: int = 256
    request_seconds: float = 30.0
    per_client: Rates = field(default_factory=_none)
    per_tenant: Rates = field(default_factory=_none)
    failed_authentications: int = 0
    """From one address in a minute; 0 is no limit."""
