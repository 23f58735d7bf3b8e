"""Requests are checked by the protocol's own models before they are sent."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from faceseal.errors import RequestRejected

Request = TypeVar("Request", bound=BaseModel)


def _mistake(problem: ErrorDetails) -> str:
    """The field; or, where fields do not fit each other, our own words about it."""
    return str(problem["loc"][0]) if problem["loc"] else problem["msg"].removeprefix("Value error, ")


def protocol_request(model: type[Request], **fields: object) -> Request:
    """A request of this kind.  Raises RequestRejected, naming what does not fit and quoting nothing."""
    try:
        return model(**fields)
    except ValidationError as error:
        wrong = sorted({_mistake(problem) for problem in error.errors(include_input=False, include_url=False)})
        raise RequestRejected(f"the key server's protocol does not allow this: {', '.join(wrong)}") from None
