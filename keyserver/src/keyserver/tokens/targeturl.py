"""The URL of a request in the one form in which two of them are compared (RFC 9449, section 4.3, check 9).

After RFC 3986, sections 6.2.2 and 6.2.3: scheme and host in lower case, escapes in upper case
and only where they are needed, no ``.`` and ``..``, no default port, no empty path.  Query and
fragment are left out.  What no client needs is refused: other schemes than https and http, user
names, escapes in the host, characters that a URL cannot hold.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address

MAX_URL_CHARACTERS = 2048
_DEFAULT_PORTS = {"https": 443, "http": 80}
_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])(:(?P<port>[1-9][0-9]{0,4})?)?"
    r"(?P<path>(/([a-z0-9._~!$&'()*+,;=:@-]|%[0-9a-f]{2})*)*)"
    r"(\?[!-~]*|#[!-~]*)?",
    re.ASCII | re.IGNORECASE,
)
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]")


def normalized_url(url: str) -> str:
    """The URL without query and fragment, normalized.  Raises ValueError, with a text that quotes nothing."""
    found = _URL.fullmatch(url) if len(url) <= MAX_URL_CHARACTERS else None
    if found is None:
        raise ValueError("not a URL that can be compared")
    scheme, host = found["scheme"].lower(), found["host"].lower()
    if host.startswith("["):
        try:
            host = f"[{IPv6Address(host[1:-1]).compressed}]"
        except ValueError:
            raise ValueError("not an IPv6 address") from None
    port = int(found["port"] or _DEFAULT_PORTS[scheme])
    if port > 0xFFFF:
        raise ValueError("not a port")
    authority = host if port == _DEFAULT_PORTS[scheme] else f"{host}:{port}"
    # In this order (RFC 3986, section 6.2.2): an escaped dot is a dot.
    return f"{scheme}://{authority}{_without_dots(_ESCAPE.sub(_spelled, found['path']))}"


def _spelled(escape: re.Match[str]) -> str:
    character = chr(int(escape[0][1:], 16))
    return character if _UNRESERVED.fullmatch(character) else escape[0].upper()


def _without_dots(path: str) -> str:
    """RFC 3986, section 5.2.4, for a path that is empty or begins with a slash."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments and segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)
