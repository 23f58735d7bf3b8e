"""A key server that is nothing but an audit log, which may be shrunk, forked, or older than it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

import httpx
from made_log import MadeLog

from faceseal import wire
from faceseal.keytransport import release_info, seal_key
from faceseal.wire import PROBLEM_BASE
from keyserver.audit import tree

KEY, GRANT, SECRET = UUID(int=17), UUID(int=4), bytes(range(32))


def grant_token() -> str:
    """What a client takes for the token of GRANT."""
    payload = wire.encode_base64url(json.dumps({"jti": str(GRANT)}).encode())
    return f"x.{payload}.y"


def _as_it_is(proof: list[bytes]) -> list[bytes]:
    return proof


def _nothing() -> None:
    pass


@dataclass
class LogPeer:
    """Answers releases and asks for proofs; `leaves` are what it says that its log is."""

    leaves: list[bytes] = field(default_factory=lambda: [b"{}"])
    knows_sizes: bool = True
    proves: bool = True
    forgets_proofs: bool = False
    """A server that answers, but gives no proof with receipts."""
    alters_proofs: Callable[[list[bytes]], list[bytes]] = _as_it_is
    asked: list[int | None] = field(default_factory=list)
    proved: list[tuple[int, int]] = field(default_factory=list)
    before_answer: Callable[[], None] = _nothing

    def transport(self) -> httpx.MockTransport:
        """To be given to a client."""
        return httpx.MockTransport(self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return self._proof(request)
        fields = json.loads(request.content)
        if not self.knows_sizes and "known_size" in fields:
            return _problem(422)
        asked = wire.Release.model_validate_json(request.content)
        self.asked.append(asked.known_size)
        index = len(self.leaves)
        leaf = {
            "event": "release.allowed",
            "grant": str(GRANT),
            "index": index,
            "key": str(KEY),
            "recipient": wire.encode_base64url(asked.recipient),
            "version": 1,
        }
        self.leaves.append(json.dumps(leaf, separators=(",", ":"), sort_keys=True).encode())
        made = MadeLog(list(self.leaves))
        answer = wire.Released(
            key_id=KEY,
            sealed_key=seal_key(SECRET, asked.recipient, release_info(KEY, GRANT)),
            receipt=self._receipt(made, index, asked.known_size),
        )
        self.before_answer()
        return _json(answer)

    def _receipt(self, made: MadeLog, index: int, known: int | None) -> wire.Receipt:
        size = len(made.leaves)
        proof = None
        if known is not None and known <= size and not self.forgets_proofs and self.knows_sizes:
            proof = self.alters_proofs([made.hash_of(part) for part in tree.consistency_path(known, size)])
        return wire.Receipt(
            leaf=made.leaves[index].decode(),
            index=index,
            inclusion_proof=[made.hash_of(part) for part in tree.inclusion_path(index, size)],
            checkpoint=made.note(),
            consistency_proof=proof,
        )

    def _proof(self, request: httpx.Request) -> httpx.Response:
        old, size = int(request.url.params["old_size"]), int(request.url.params["size"])
        if not self.knows_sizes or not self.proves:
            return _problem(404)
        if size > len(self.leaves):
            return _problem(422)
        self.proved.append((old, size))
        made = MadeLog(list(self.leaves))
        proof = self.alters_proofs([made.hash_of(part) for part in tree.consistency_path(old, size)])
        return _json(wire.Consistency(old_size=old, size=size, proof=proof))


def _json(message: wire.Message) -> httpx.Response:
    return _response(200, "application/json", message)


def _problem(status: int) -> httpx.Response:
    return _response(
        status, "application/problem+json", wire.Problem(type=PROBLEM_BASE + "x", title="No", status=status)
    )


def _response(status: int, media_type: str, message: wire.Message) -> httpx.Response:
    data = httpx.ByteStream(message.model_dump_json().encode())
    return httpx.Response(status, stream=data, headers={"content-type": media_type})
