"""The canonical form of JSON (RFC 8785) that entries of the log have: objects without numbers that are no integers."""

from __future__ import annotations

import json
from typing import NoReturn

_LARGEST = (1 << 53) - 1
"""The largest integer that every reader of JSON takes for what it is (RFC 7493, section 2.2)."""


def canonical_object(line: bytes) -> dict[str, object]:
    """The object whose canonical form these bytes are; the caller bounds their length.

    Members named twice, floats, NaN, integers of 54 bits and more, and every other way to write the same are
    refused.  Raises ValueError, with a text that quotes nothing.
    """
    try:
        value = _DECODER.decode(line.decode())
        # Sorting by code point differs from RFC 8785's, by UTF-16 unit, for some names that are not ASCII.
        canonical = _SORTING.encode(value) if line.isascii() else _AS_IT_IS.encode(_ordered(value))
        same = canonical.encode() == line
    except (ValueError, RecursionError):
        raise ValueError("not canonical JSON") from None
    if not isinstance(value, dict) or not same:
        raise ValueError("not canonical JSON")
    return value


def _ordered(value: object) -> object:
    if isinstance(value, dict):
        return {name: _ordered(value[name]) for name in sorted(value, key=_utf16)}
    return [_ordered(item) for item in value] if isinstance(value, list) else value


def _utf16(name: str) -> bytes:
    return name.encode("utf-16-be")


def _integer(text: str) -> int:
    if len(text) < 16:
        return int(text)
    value = int(text) if len(text) < 20 else _LARGEST + 1
    if abs(value) > _LARGEST:
        raise ValueError("too large")
    return value


def _refuse(_text: str) -> NoReturn:
    raise ValueError("not an integer")


_DECODER = json.JSONDecoder(parse_float=_refuse, parse_constant=_refuse, parse_int=_integer)
_SORTING = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False, sort_keys=True)
_AS_IT_IS = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)
