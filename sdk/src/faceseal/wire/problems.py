"""Errors."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

PROBLEM_BASE = "urn:faceseal:problem:"
"""Prefix of the `type` of every RFC 9457 problem document that the server sends."""


class Problem(BaseModel):
    """RFC 9457 problem document (application/problem+json)."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    type: Annotated[str, StringConstraints(max_length=200)]
    title: Annotated[str, StringConstraints(max_length=200)]
    status: int
    detail: Annotated[str, StringConstraints(max_length=1000)] = ""
