"""Sending one webhook over HTTP: the only place where the server talks to receivers.

1. the host's name is resolved once, every address must be allowed, and the connection goes to
   one of those very addresses: a name that changes its mind changes nothing;
2. certificates are verified for the name, redirects are not followed, and no proxy is used,
   for it would resolve the name by itself;
3. the whole takes at most `DEADLINE_SECONDS`; of the answer only the status is read.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence

import httpx

from keyserver.webhooks.addresses import Network, may_connect
from keyserver.webhooks.delivery import SendFailed

DEADLINE_SECONDS = 10.0
Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Host and port to addresses."""


async def resolve(host: str, port: int) -> list[str]:
    """The host's addresses, as the system finds them.  Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def send(
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    networks: Sequence[Network] = (),
    deadline: float = DEADLINE_SECONDS,
    resolve: Resolve = resolve,
) -> None:
    """POST the body (JSON); returns if the receiver answered with 2xx within the deadline (seconds).

    Raises SendFailed.
    """
    try:
        target = httpx.URL(url)
        host = _host(target)
        async with asyncio.timeout(deadline):
            addresses = await resolve(host, target.port or {"http": 80, "https": 443}[target.scheme])
            if not addresses or not all(may_connect(host, address, networks) for address in addresses):
                raise SendFailed("the receiver's address is not allowed")
            status = await _post(target, addresses, headers, body)
    except TimeoutError:
        raise SendFailed(f"no answer within {deadline:g} seconds") from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as cause:
        # The type alone: a message may quote the URL.
        raise SendFailed(f"the connection failed: {type(cause).__name__}") from None
    if not 200 <= status < 300:
        raise SendFailed(f"the answer has status {status}")


async def _post(target: httpx.URL, addresses: Sequence[str], headers: Mapping[str, str], body: bytes) -> int:
    """The answer's status, from the first of the addresses that takes a connection."""
    all_headers = {
        **headers,
        "host": target.netloc.decode("ascii"),
        "content-type": "application/json",
        "user-agent": "faceseal-keyserver",
        "connection": "close",
    }
    # A transport of our own: it knows of no proxy.
    transport = httpx.AsyncHTTPTransport(verify=httpx.create_ssl_context(), trust_env=False)
    async with httpx.AsyncClient(transport=transport, follow_redirects=False, timeout=DEADLINE_SECONDS) as client:
        for address in addresses:
            # The name goes into the TLS handshake, and the certificate is checked against it.
            request = client.build_request(
                "POST",
                target.copy_with(host=address),
                headers=all_headers,
                content=body,
                extensions={"sni_hostname": _host(target)},
            )
            try:
                response = await client.send(request, stream=True)
            except httpx.ConnectError:
                if address == addresses[-1]:
                    raise
                continue
            await response.aclose()
            return response.status_code
    raise SendFailed("the receiver has no address")


def _host(target: httpx.URL) -> str:
    """As it is in the URL: `target.host` would show an internationalized name in letters."""
    return target.raw_host.decode("ascii")
