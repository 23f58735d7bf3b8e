"""One key server over HTTP: a request goes out, one typed answer or one typed error comes back.

1. https only, except for loopback hosts; certificates are verified, redirects never followed;
2. no answer is read further than `wire.MAX_RESPONSE_BYTES`, nor waited for longer than `timeout`;
3. status, content type and body must be what the protocol says, or it is `ServerMisbehaved`;
4. the token goes into one header and nowhere else; proofs are made as `credentials` says.
"""

from __future__ import annotations

import ipaddress
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Literal
from uuid import uuid4

import httpx

from faceseal import wire
from faceseal.client.credentials import Credentials
from faceseal.client.deadline import Deadline
from faceseal.client.dpop import DpopKey
from faceseal.client.parse import Model, parse_message
from faceseal.client.refusal import ComeAgain, may_come_again, pause_of, refusal
from faceseal.errors import KeySourceError, ServerMisbehaved, ServerUnavailable

GET_RETRIES = 2
SEND_RETRIES = 4
RETRY_PAUSE = 0.1
"""Seconds, before the first retry; each further one waits twice as long, or as long as the server asks."""
LONGEST_PAUSE = 2.0
NO_HEADERS: Mapping[str, str] = {}
LONGEST_TIMEOUT = 300.0
LONGEST_TOKEN = 8192
_KEEP_ALIVE = 4.0
"""Seconds; less than the five after which common servers close an idle connection."""


class Connection:
    """A key server's base URL, an access token, and at most one open connection.

    `own_key` gives the client's key, when it is first needed; `clock`: seconds since 1970.
    """

    def __init__(
        self,
        url: str,
        token: str,
        timeout: float,
        transport: httpx.BaseTransport | None,
        own_key: Callable[[], DpopKey],
        clock: Callable[[], float] = time.time,
    ) -> None:
        base, loopback = _server_url(url)
        if not 0 < timeout <= LONGEST_TIMEOUT:
            raise KeySourceError(f"the timeout must be more than 0 and at most {LONGEST_TIMEOUT:g} seconds")
        if not 0 < len(token) <= LONGEST_TOKEN or not all("!" <= character <= "~" for character in token):
            raise KeySourceError("the token for the key server is empty, too long, or not one word of plain ASCII")
        self.url = str(base).rstrip("/")
        self._timeout = timeout
        self._credentials = Credentials(token, own_key, clock)
        self._deadline = Deadline()
        limits = httpx.Limits(max_connections=1, keepalive_expiry=_KEEP_ALIVE)
        if transport is None and loopback:
            # A transport of our own keeps a proxy named in the environment away from this machine's own ports.
            transport = httpx.HTTPTransport(verify=httpx.create_ssl_context(), limits=limits)
        self._client = httpx.Client(
            transport=transport,
            limits=limits,
            timeout=timeout,
            follow_redirects=False,
            headers={
                "accept": "application/json, application/problem+json",
                # A compressed answer could unpack to any size.
                "accept-encoding": "identity",
                "user-agent": "faceseal",
            },
        )

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def prove(self) -> str:
        """Let every request from now on prove the client's key; its thumbprint.  Raises ClientKeyError."""
        return self._credentials.prove()

    def get(self, path: str, answer: type[Model]) -> Model:
        """GET; tried again twice if the connection fails or the server is busy."""
        return self._perform("GET", path, None, 200, answer, retries=GET_RETRIES)

    def send(
        self, method: Literal["POST", "PUT"], path: str, body: wire.Message | None, status: int, answer: type[Model]
    ) -> Model:
        """POST or PUT, which takes effect once; `status` is the one that means success.

        Tried again a few times if the connection fails or the server is busy: a POST carries an
        Idempotency-Key, by which the server knows it again, and a PUT changes nothing twice.
        """
        once = {"idempotency-key": f'"{uuid4()}"'} if method == "POST" else {}
        return self._perform(method, path, body, status, answer, retries=SEND_RETRIES, headers=once)

    def _perform(
        self,
        method: str,
        path: str,
        body: wire.Message | None,
        status: int,
        answer: type[Model],
        retries: int,
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> Model:
        pause, until = RETRY_PAUSE, time.monotonic() + self._timeout
        with self._deadline.limit(self._timeout):
            while True:
                try:
                    return self._exchange(method, path, body, status, answer, headers)
                except httpx.HTTPError as cause:
                    transient = isinstance(cause, httpx.NetworkError | httpx.RemoteProtocolError)
                    if not transient or retries == 0 or self._deadline.expired or time.monotonic() + pause >= until:
                        raise self._network_error(cause) from cause
                except ComeAgain as busy:
                    pause = max(pause, busy.pause)
                    if retries == 0 or time.monotonic() + pause >= until:
                        raise busy.otherwise from None
                retries -= 1
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    def _exchange(
        self,
        method: str,
        path: str,
        body: wire.Message | None,
        status: int,
        answer: type[Model],
        headers: Mapping[str, str],
    ) -> Model:
        content = None if body is None else body.model_dump_json().encode()
        response, data = self._round_trip(method, path, content, headers)
        if self._credentials.asked_for_nonce(response):
            response, data = self._round_trip(method, path, content, headers)
        if response.status_code != status:
            challenge = response.headers.get("www-authenticate", "")
            error = refusal(self.url, response.status_code, _media_type(response), data, challenge)
            if may_come_again(response.status_code, _media_type(response), data):
                raise ComeAgain(pause_of(response.headers.get("retry-after", "")), error)
            raise error
        if _media_type(response) != "application/json":
            raise ServerMisbehaved(f"the key server at {self.url} did not answer with JSON; check the URL")
        try:
            return parse_message(answer, data)
        except ValueError as cause:
            raise ServerMisbehaved(
                f"the key server at {self.url} sent something else than its protocol allows ({cause}); "
                "check that it fits this version of faceseal"
            ) from None

    def _round_trip(
        self, method: str, path: str, content: bytes | None, more: Mapping[str, str]
    ) -> tuple[httpx.Response, bytes]:
        url = self.url + path
        headers = {**self._credentials.headers(method, url), **more}
        if content is not None:
            headers["content-type"] = "application/json"
        with self._client.stream(
            method, url, content=content, headers=headers, extensions={"trace": self._deadline.trace}
        ) as response:
            self._credentials.learn(response)
            return response, self._read(response)

    def _read(self, response: httpx.Response) -> bytes:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise ServerMisbehaved(f"the key server at {self.url} sent a compressed answer that nobody asked for")
        data = bytearray()
        for chunk in response.iter_raw():
            data += chunk
            if len(data) > wire.MAX_RESPONSE_BYTES:
                raise ServerMisbehaved(f"the key server at {self.url} sent an answer that is too long; check the URL")
        return bytes(data)

    def _network_error(self, cause: httpx.HTTPError) -> KeySourceError:
        if self._deadline.expired or isinstance(cause, httpx.TimeoutException):
            return ServerUnavailable(
                f"the key server at {self.url} did not answer within {self._timeout:g} seconds; "
                "check the network, or allow more time"
            )
        if isinstance(cause, httpx.ConnectError) and _about_tls(cause):
            return ServerUnavailable(
                f"no trusted connection to the key server at {self.url}; check its certificate "
                "(SSL_CERT_FILE names your own authorities)"
            )
        if isinstance(cause, httpx.NetworkError | httpx.ProxyError):
            return ServerUnavailable(
                f"the key server at {self.url} cannot be reached; check the URL, the network and that it runs"
            )
        return ServerMisbehaved(f"{self.url} broke off or does not speak HTTP; check the URL and the server's log")


def _server_url(text: str) -> tuple[httpx.URL, bool]:
    """The base URL, and whether it leads to this machine itself."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        raise KeySourceError("the key server's URL cannot be read; it looks like https://keys.example.org") from None
    loopback = _is_loopback(url.host)
    if url.userinfo or url.query or url.fragment or not url.host:
        raise KeySourceError(
            "the key server's URL is a scheme, a host and perhaps a path, such as https://keys.example"
        )
    if url.scheme != "https" and not (url.scheme == "http" and loopback):
        raise KeySourceError("the key server's URL must start with https:// (http:// only for this machine itself)")
    return url, loopback


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _media_type(response: httpx.Response) -> str:
    media_type: str = response.headers.get("content-type", "")
    return media_type.partition(";")[0].strip().lower()


def _about_tls(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False
