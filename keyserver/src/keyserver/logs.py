"""Logs as JSON lines on stderr, each with the id of the request that it belongs to, none with a secret.

What is written is what this code says, not what an exception says: of an exception the line
has its types and where it was raised, for its text may quote what it choked on.  Messages of
libraries are passed through, but whatever looks like a signed token is cut out of them.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TextIO

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""Of the request that is being answered; empty outside of requests."""

_CHATTY = ("httpx", "httpcore", "alembic", "uvicorn")
"""They write addresses and headers of what they fetch, or that all is as usual."""
_TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]{5,}(\.[A-Za-z0-9_-]*){1,4}")
_LONGEST_MESSAGE = 2000
_MOST_FRAMES = 20


class JsonLines(logging.Formatter):
    """One record as one line of JSON: time, level, logger, message, request id, exception."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": without_tokens(record.getMessage())[:_LONGEST_MESSAGE],
        }
        if request_id.get():
            line["request_id"] = request_id.get()
        line |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = described(record.exc_info[1])
        return json.dumps(line)


def without_tokens(text: str) -> str:
    """The text with `[token]` in place of whatever looks like a signed token."""
    return _TOKEN.sub("[token]", text)


def described(error: BaseException) -> list[dict[str, object]]:
    """The exception and what caused it: types and places, but no text."""
    found: list[dict[str, object]] = []
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        frames = traceback.extract_tb(cause.__traceback__)[-_MOST_FRAMES:]
        found.append({"type": type(cause).__qualname__, "at": [f"{at.filename}:{at.lineno}" for at in frames]})
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return found


def configure(level: str, stream: TextIO | None = None) -> None:
    """Write the log of a process as JSON lines, from this level on, to `stream` or stderr; once, at its beginning."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler])
    silence_chatter()


def silence_chatter() -> None:
    """Libraries say only what goes wrong."""
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
