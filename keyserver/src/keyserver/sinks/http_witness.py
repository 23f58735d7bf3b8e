"""A witness over HTTP (https://c2sp.org/tlog-witness): it cosigns what continues what it has seen.

1. https with verified certificates, or http on a loopback host; redirects are not followed;
2. the whole takes at most `DEADLINE_SECONDS`, and no answer is read further than its bound;
3. a 200 counts only with a cosignature on this very checkpoint by a key that the operator named;
4. that the witness holds more, or another tree, is its bare word, and believed: it can stop
   releases with it, and do nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from urllib.parse import urlsplit

import httpx

from faceseal.cosignature import Cosignature, WitnessKey, cosignatures, text_of
from faceseal.errors import TransparencyError
from keyserver.sinks.sink import Offer, SinkAhead, SinkFailed, SinkForked
from keyserver.tokens.issuers import is_loopback
from keyserver.witness.submission import SIZE_MEDIA_TYPE, Malformed, Submission, parse_size

DEADLINE_SECONDS = 10.0
MOST_ANSWER_BYTES = 16 * 1024
_TRIES = 4
_REFUSALS = {
    403: "it does not know this log's key",
    404: "it does not know this log, or is no witness",
    429: "it was asked too often",
}


class HttpWitness:
    """One witness, by its submission prefix."""

    keeps_notes = False

    def __init__(self, url: str, keys: Sequence[WitnessKey], deadline: float = DEADLINE_SECONDS) -> None:
        """keys: the witnesses whose cosignatures count; deadline in seconds, for a whole push."""
        self.name = url
        self._url = f"{url.rstrip('/')}/add-checkpoint"
        self._keys = keys
        self._deadline = deadline
        self._size = 0
        """Of the newest checkpoint that it has, as far as is known; it says if it is another one."""

    def push(self, offer: Offer) -> Sequence[Cosignature]:
        """See `Sink`."""
        try:
            return asyncio.run(self._within(offer))
        except TimeoutError:
            raise SinkFailed(f"no answer within {self._deadline:g} seconds") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as cause:
            # The type alone: a message may quote the URL.
            raise SinkFailed(f"the connection failed: {type(cause).__name__}") from None

    async def _within(self, offer: Offer) -> Sequence[Cosignature]:
        async with asyncio.timeout(self._deadline), self._client() as client:
            for _ in range(_TRIES):
                cosigned = await self._push(client, offer)
                if cosigned is not None:
                    return cosigned
        raise SinkFailed("it names another size each time")

    async def _push(self, client: httpx.AsyncClient, offer: Offer) -> Sequence[Cosignature] | None:
        """None if it holds another checkpoint than was thought, and the size is known now."""
        size = offer.checkpoint.size
        # A replica that is new, or behind the others, begins at what it has itself.
        old = min(self._size, size)
        body = Submission(old, await asyncio.to_thread(offer.proof_from, old), offer.note).encoded()
        status, media_type, answer = await _post(client, self._url, body)
        if status == httpx.codes.OK:
            cosigned = self._verified(offer, answer)
            self._size = size
            return cosigned
        if status == httpx.codes.CONFLICT and old == size and media_type != SIZE_MEDIA_TYPE:
            # No other size is named: it is the root that differs.
            raise SinkForked(old)
        if status == httpx.codes.CONFLICT:
            self._size = _size(media_type, answer)
            if self._size > size:
                raise SinkAhead(self._size)
            if self._size == old:
                # What it was told is what it has, and still it does not agree: not on the root.
                raise SinkForked(old)
            return None
        if status == httpx.codes.UNPROCESSABLE_ENTITY and old > 0:
            raise SinkForked(old)
        raise SinkFailed(_REFUSALS.get(status, f"the answer has status {status}"))

    def _verified(self, offer: Offer, answer: bytes) -> Sequence[Cosignature]:
        try:
            lines = answer.decode().removesuffix("\n").split("\n")
            found = cosignatures(text_of(offer.note), [f"{line}\n" for line in lines], self._keys)
        except (UnicodeDecodeError, TransparencyError):
            found = []
        if not found:
            raise SinkFailed("the answer has no cosignature that counts")
        return found

    def _client(self) -> httpx.AsyncClient:
        # A transport of our own keeps a proxy named in the environment away from this machine's own ports.
        loopback = is_loopback(urlsplit(self._url).hostname or "")
        return httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport() if loopback else None,
            follow_redirects=False,
            timeout=self._deadline,
            # A compressed answer could unpack to any size.
            headers={"accept-encoding": "identity", "user-agent": "faceseal-keyserver"},
        )


async def _post(client: httpx.AsyncClient, url: str, body: bytes) -> tuple[int, str, bytes]:
    """Status, media type and body of the answer.  Raises SinkFailed if it is too long."""
    async with client.stream("POST", url, content=body, headers={"content-type": "text/plain"}) as response:
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise SinkFailed("the answer is compressed, which was not asked for")
        answer = bytearray()
        async for chunk in response.aiter_raw():
            answer += chunk
            if len(answer) > MOST_ANSWER_BYTES:
                raise SinkFailed(f"the answer is longer than {MOST_ANSWER_BYTES} bytes")
        media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        return response.status_code, media_type, bytes(answer)


def _size(media_type: str, answer: bytes) -> int:
    try:
        if media_type != SIZE_MEDIA_TYPE:
            raise Malformed
        return parse_size(answer.decode("ascii").removesuffix("\n"))
    except (Malformed, UnicodeDecodeError):
        raise SinkFailed("it refuses, and does not say what it has") from None
