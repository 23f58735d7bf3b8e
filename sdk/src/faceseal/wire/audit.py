"""The audit log."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from faceseal.wire.fields import Digest, LogSize, Message


class Checkpoint(Message):
    """GET /v1/audit/checkpoint."""

    checkpoint: Annotated[str, StringConstraints(max_length=4096)]


class Consistency(Message):
    """GET /v1/audit/consistency: that the log of `size` entries continues the one of `old_size` (RFC 6962, 2.1.2)."""

    old_size: LogSize
    size: LogSize
    proof: Annotated[list[Digest], Field(max_length=64)]
