"""Addresses of sinks: file:///PATH, s3://BUCKET/KEY, or a witness's https://HOST[/PREFIX] (http on a loopback host)."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from keyserver.tokens.issuers import split_url

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_LONGEST_KEY = 1024


def check_address(url: str) -> str:
    """The address, if a sink may have it.  Raises ValueError."""
    scheme = url.partition(":")[0]
    if scheme == "file":
        path_of(url)
    elif scheme == "s3":
        object_of(url)
    elif "?" in url:
        raise ValueError("a witness's address has no query")
    else:
        split_url(url)
    return url


def path_of(url: str) -> Path:
    """The file of a file:/// address.  Raises ValueError."""
    parts = urlsplit(url)
    path = Path(unquote(parts.path))
    if parts.netloc or parts.query or parts.fragment or "\0" in str(path) or not path.is_absolute() or not path.name:
        raise ValueError("a file's address is file:///, then an absolute path")
    return path


def object_of(url: str) -> tuple[str, str]:
    """Bucket and key of an s3:// address.  Raises ValueError."""
    parts = urlsplit(url)
    key = parts.path.removeprefix("/")
    if not _BUCKET.fullmatch(parts.netloc) or parts.query or parts.fragment or not 0 < len(key) <= _LONGEST_KEY:
        raise ValueError("an object's address is s3://BUCKET/KEY")
    return parts.netloc, key
