"""Requests are checked by the protocol's own models before they are sent."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from faceseal.errors import RequestRejected

Request = TypeVar("Request", bound=BaseModel)


def protocol_request(model: type[Request], **fields: object) -> Request:
    """A request of this kind.  Raises RequestRejected, naming what does not fit and quoting nothing."""
    try:
        return model(**fields)
    except ValidationError as error:
        places = (problem["loc"] for problem in error.errors(include_input=False, include_url=False))
        wrong = sorted({str(place[0]) if place else "the request" for place in places})
        raise RequestRejected(f"the key server's protocol does not allow this: {', '.join(wrong)}") from None
