"""Where webhooks may go, so that nobody makes this server knock at doors inside its own network.

1. https, or http on a host that is called by a loopback name or address;
2. such a host must be this machine itself; any other must have public addresses alone, but for
   networks that the operator names;
3. an address inside of another one (IPv4 in IPv6) counts as what it leads to.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from keyserver.tokens.issuers import is_loopback, split_url

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_UNICAST = ipaddress.IPv6Network("2000::/3")
"""All of IPv6 that is given out to be reached from everywhere; what was local or a translation once lies outside."""


def check_url(url: str) -> str:
    """The URL, if a webhook may have it.  Raises ValueError."""
    split_url(url)
    return url


def receiver_of(url: str) -> str:
    """Scheme, host and port: a path may hold a secret of the receiver's."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def may_connect(host: str, address: str, networks: Sequence[Network]) -> bool:
    """Whether the host of a webhook may be reached at this address, to which its name was resolved."""
    try:
        reached = _reached(ipaddress.ip_address(address))
    except ValueError:
        # Such as an address with a zone, which is of this machine's own links.
        return False
    if is_loopback(host):
        return reached.is_loopback
    if any(reached in network for network in networks):
        return True
    public = isinstance(reached, ipaddress.IPv4Address) or reached in _UNICAST
    return public and reached.is_global and not reached.is_multicast


def _reached(address: Address) -> Address:
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.sixtofour is not None:
            return address.sixtofour
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address
