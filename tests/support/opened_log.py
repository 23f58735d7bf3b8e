"""The audit log as somebody reads it who may open what it says of people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from keyserver.keywrap import Root
from keyserver.service.entries import shown

OPENED = {"actor": "actor", "token": "token_id", "jkt": "jkt", "purpose": "purpose", "reference": "reference"}


def opened_entries(session: Session, root: Root, leaves: Sequence[str]) -> list[dict[str, Any]]:
    """Entries as objects, with their personal fields in the place that version 1 has them in."""
    entries: list[dict[str, Any]] = [json.loads(leaf) for leaf in leaves]
    for tenant in {entry["tenant"] for entry in entries if "sealed" in entry}:
        for said in shown(session, root, tenant, leaves):
            entry = entries[said.index - entries[0]["index"]]
            if said.pseudonym is None:
                continue
            assert said.pseudonym == UUID(entry["actor"])
            found = {name: getattr(said, field) for name, field in OPENED.items()} | {"labels": dict(said.labels)}
            entry |= {name: value for name, value in found.items() if value}
    return entries
