"""JSON in which nothing has two readings (RFC 8259, section 4; RFC 7515, section 4)."""

from __future__ import annotations

import json


def parse_json(data: bytes) -> object:
    """The value of bounded bytes: UTF-8, no member named twice, no NaN or infinity.

    Raises ValueError, whose text holds nothing of the data.
    """
    try:
        return json.loads(data.decode(), object_pairs_hook=_members, parse_constant=_constant)
    except (ValueError, RecursionError):
        raise ValueError("not strict JSON") from None


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is named twice")
    return members


def _constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")
