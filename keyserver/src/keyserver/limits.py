"""How much of everything one replica takes on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Above these, requests are refused at once."""

    requests_at_once: int = 256
    request_seconds: float = 30.0
