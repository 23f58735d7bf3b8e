"""A request whose body has one reading: no member named twice, no NaN (see `keyserver.tokens.strictjson`)."""

from __future__ import annotations

import json
from typing import Any

from fastapi import Request

from keyserver.tokens.strictjson import parse_json


class StrictRequest(Request):
    """In place of the framework's own request, which takes the last of several members with one name.

    A proxy that looks at bodies may take the first.
    """

    async def json(self) -> Any:
        """Raises JSONDecodeError, which quotes nothing, for what is not strict JSON."""
        try:
            return parse_json(await self.body())
        except ValueError:
            raise json.JSONDecodeError("not strict JSON", "", 0) from None
