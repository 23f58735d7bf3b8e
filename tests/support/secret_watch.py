"""Watches a whole run of the suite: what became a secret, what was logged, and whether one is in the other."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from oidc_peer import Signer

from faceseal.client.dpop import DpopKey
from keyserver import secretfile
from keyserver.keywrap.file import FileRoot
from keyserver.keywrap.kek import Kek
from keyserver.tokens import BuiltinIssuer

LOUD = ("keyserver", "faceseal", "uvicorn", "fastapi", "httpx", "asyncio", "alembic", "hvac")
"""Whose every record is looked at, as low as debug; of the others, from warnings on.

httpcore is not among them: at debug it writes the headers of the tests' own client.
"""
SHORTEST = 16
"""A secret shorter than this could be in a text by chance."""
_PREFIX = 10


def forms(secret: bytes | str) -> set[str]:
    """The ways in which a secret could be written."""
    if isinstance(secret, str):
        return {secret} if len(secret) >= SHORTEST else set()
    if len(secret) < SHORTEST:
        return set()
    url = base64.urlsafe_b64encode(secret).decode().rstrip("=")
    # As repr writes it inside quotes, and as JSON doubles its backslashes.
    quoted = repr(secret)[2:-1]
    plain = base64.b64encode(secret).decode().rstrip("=")
    return {secret.hex(), secret.hex().upper(), plain, url, quoted, quoted.replace("\\", "\\\\")}


def leaks(texts: Iterable[str], secrets: Iterable[bytes | str]) -> list[str]:
    """The texts in which one of the secrets stands."""
    index: dict[str, list[str]] = {}
    for secret in secrets:
        for form in forms(secret):
            index.setdefault(form[:_PREFIX], []).append(form)

    def holds(text: str) -> bool:
        return any(
            text.startswith(form, place)
            for place in range(len(text) - SHORTEST + 1)
            for form in index.get(text[place : place + _PREFIX], ())
        )

    return [text for text in texts if holds(text)]


class Watch(logging.Handler):
    """Keeps every different line that is logged, and every secret that passes."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))
        self.lines: set[str] = set()
        self.secrets: set[bytes | str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.add(self.format(record))

    def note(self, *secrets: object) -> None:
        self.secrets |= {bytes(one) if isinstance(one, bytearray) else one for one in secrets if _is_secret(one)}

    def returned(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, whose result counts as secret from now on."""

        def watched(*args: Any, **named: Any) -> Any:
            result = function(*args, **named)
            self.note(result)
            return result

        return watched

    def passed(self, function: Callable[..., Any], position: int) -> Callable[..., Any]:
        """The same function, one of whose arguments counts as secret from now on."""

        def watched(*args: Any, **named: Any) -> Any:
            self.note(*args[position : position + 1])
            return function(*args, **named)

        return watched


def _is_secret(value: object) -> bool:
    return isinstance(value, bytes | bytearray | str)


@contextmanager
def watching() -> Iterator[Watch]:
    """Image keys, KEKs, root and signing keys, PINs, access tokens, grants and DPoP keys are noted inside the block."""
    watch = Watch()
    patch = pytest.MonkeyPatch()
    patch.setattr(Kek, "__init__", watch.passed(Kek.__init__, 1))
    patch.setattr(Kek, "wrap", watch.passed(Kek.wrap, 1))
    patch.setattr(Kek, "unwrap", watch.returned(Kek.unwrap))
    patch.setattr(FileRoot, "__init__", watch.passed(FileRoot.__init__, 1))
    patch.setattr(FileRoot, "wrap", watch.passed(FileRoot.wrap, 1))
    patch.setattr(secretfile, "_read_private", watch.returned(secretfile._read_private))
    patch.setattr(BuiltinIssuer, "_sign", watch.returned(BuiltinIssuer._sign))
    patch.setattr(Signer, "sign", watch.returned(Signer.sign))
    made = DpopKey.__init__

    def noted(self: DpopKey, private: Any) -> None:
        watch.note(private.private_bytes_raw())
        made(self, private)

    patch.setattr(DpopKey, "__init__", noted)
    levels = {name: logging.getLogger(name).level for name in LOUD}
    logging.getLogger().addHandler(watch)
    for name in LOUD:
        logging.getLogger(name).setLevel(logging.DEBUG)
    try:
        yield watch
    finally:
        patch.undo()
        logging.getLogger().removeHandler(watch)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
