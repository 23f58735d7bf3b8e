"""Strict JSON, for answers of a server and for files that anybody may have written."""

from __future__ import annotations

import json
from typing import NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

Model = TypeVar("Model", bound=BaseModel)


def strict_json(data: bytes) -> object:
    """The value of a UTF-8 JSON text in which no object names a member twice.

    The caller bounds the length.  Raises ValueError, with a text that quotes nothing.
    """
    try:
        return json.loads(data.decode(), object_pairs_hook=_distinct, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise ValueError("not strict JSON") from None


def parse_message(model: type[Model], data: bytes) -> Model:
    """`data` as one `model`.

    The caller bounds the length.  Raises ValueError, with a text that quotes nothing: what
    does not parse may hold a token.
    """
    strict_json(data)
    try:
        return model.model_validate_json(data)
    except ValidationError:
        raise ValueError(f"not a {model.__name__}") from None


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is named twice")
    return members


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
