"""The audit log."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from faceseal.wire.fields import Message


class Checkpoint(Message):
    """GET /v1/audit/checkpoint."""

    checkpoint: Annotated[str, StringConstraints(max_length=4096)]
