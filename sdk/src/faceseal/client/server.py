"""The key server as a source of image keys, and its grants."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TypeVar, Unpack
from urllib.parse import urlencode
from uuid import UUID

import httpx
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from faceseal import translog, wire
from faceseal.client.auditsearch import FoundEntries, SeenBy, WantedEntries, search_audit, who_has_seen
from faceseal.client.batches import create_batches
from faceseal.client.clientkey import load_or_make
from faceseal.client.connection import Connection
from faceseal.client.continuing import Continuing, NothingKnown
from faceseal.client.dpop import DpopKey
from faceseal.client.folder import own_folder
from faceseal.client.granttoken import as_grant_id, grant_id_of
from faceseal.client.keysearch import Wanted, look_up, search
from faceseal.client.receipt import verify_receipt
from faceseal.client.remembered import Seen
from faceseal.client.request import protocol_request as _request
from faceseal.errors import AccessDenied, ServerMisbehaved
from faceseal.imagekey import ImageKey
from faceseal.keytransport import creation_info, open_key, release_info
from faceseal.wire import PolicyInfo

_CLOCKS_DIFFER = 60
"""Seconds; nearer to a grant's beginning than this, the server is asked."""
_NOT_APPROVED = {
    wire.GrantState.PENDING: "is not approved yet; somebody else must approve it (faceseal grants approve)",
    wire.GrantState.DENIED: "was denied; ask its approver, or request another",
    wire.GrantState.REVOKED: "was revoked; request another",
    wire.GrantState.EXPIRED: "has expired; request another",
    wire.GrantState.EXHAUSTED: "is used up; request another",
    wire.GrantState.APPROVED: "belongs to somebody else; request one of your own",
}


class KeyServer:
    """A `KeySource` over HTTP (see `faceseal.wire` for the protocol).  For one thread at a time.

    `url` is https, or http on this machine itself; `token` is an access token, bound to the client's
    key or not; `timeout` limits each call as a whole, in seconds.  Grants are bound to the client's
    key when they are requested, and used with it: `client_key`, or else the user's own one, which
    is made when it is first needed (see `faceseal.client.clientkey`).  With `log_key` (a verifier
    key, or its text) every release must prove that it is in the audit log, and that the log continues what this user
    has seen of it before (see `faceseal.client.continuing`), or the key is not used.  The user's own folder, with the
    client's key and what was seen of logs, is `folder`, or else what FACESEAL_HOME names, or ``~/.faceseal``.

    Every method raises: ServerUnavailable (no answer, or not in time), ServerMisbehaved (an
    answer outside the protocol), AccessDenied (401 and 403), UnknownKey (404), RequestRejected
    (409, 413, 422, and requests that the protocol does not allow), ClientKeyError (the client's key
    is needed and cannot be had, or is not the one that the token is bound to); the constructor raises
    KeySourceError if the settings make no sense and TransparencyError for a malformed `log_key`.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str,
        log_key: translog.VerifierKey | str | None = None,
        timeout: float = 10.0,
        client_key: DpopKey | None = None,
        folder: Path | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._log_key = translog.VerifierKey.parse(log_key) if isinstance(log_key, str) else log_key

        def home() -> Path:
            return own_folder() if folder is None else folder

        def own() -> DpopKey:
            return load_or_make(home()) if client_key is None else client_key

        self._connection = Connection(url, token, timeout, transport, own)
        self._continuing = Continuing(self._log_key, home) if self._log_key else NothingKnown()
        self.last_receipt: wire.Receipt | None = None
        """The receipt of the latest release; kept also if it proved wrong, as evidence."""

    def __repr__(self) -> str:
        return f"KeyServer({self._connection.url!r})"

    def __enter__(self) -> KeyServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def create(self, labels: Mapping[str, str] | None = None) -> ImageKey:
        """A new image key, which the server keeps under these labels."""
        private = X25519PrivateKey.generate()
        recipient = private.public_key().public_bytes_raw()
        request = _request(wire.CreateKey, recipient=recipient, labels=dict(labels or {}))
        answer = self._connection.send("POST", "/v1/keys", request, 201, wire.KeyCreated)
        return ImageKey(answer.key.id, open_key(answer.sealed_key, private, creation_info(answer.key.id)))

    def create_keys(
        self, count: int, labels: Mapping[str, str] | Sequence[Mapping[str, str]] | None = None
    ) -> list[ImageKey]:
        """New image keys, all under the same labels or each under its own; a round trip for every 1,000 of them.

        If one of several round trips fails, the keys of those before it stay on the server unused.
        """
        each = labels if isinstance(labels, Sequence) else [labels or {}] * count
        return create_batches(self._connection, each, count)

    def bind(self, key_id: UUID, sealed_digest: bytes, perceptual_hash: bytes | None = None) -> None:
        """Tie the key to a photo; RequestRejected if it is tied to another.

        perceptual_hash: 8 bytes, by which the key is found when the photo has lost its metadata.
        """
        request = _request(wire.BindKey, sealed_digest=sealed_digest, perceptual_hash=perceptual_hash)
        info = self._connection.send("PUT", f"/v1/keys/{key_id}/sealed", request, 200, wire.KeyInfo)
        if _about(info, key_id).sealed_digest != sealed_digest:
            raise ServerMisbehaved("the key server did not bind the key to this photo; ask its operator")

    def release(self, key_id: UUID, grant: str | None) -> ImageKey:
        """The key, using the grant once.  `grant` is a grant's token, or the id of one of your own.

        Raises also AccessDenied without a usable grant, and TransparencyError if the receipt
        does not prove the release.
        """
        if grant is None:
            raise AccessDenied(f"this key needs a grant; ask for one: faceseal grants request {key_id} --purpose TEXT")
        self._connection.prove()
        seen = self._continuing.before()
        grant_id, token = self._resolve(grant)
        private = X25519PrivateKey.generate()
        recipient = private.public_key().public_bytes_raw()

        def ask(known_size: int | None) -> wire.Released:
            request = _request(wire.Release, grant=token, recipient=recipient, known_size=known_size)
            return self._connection.send("POST", f"/v1/keys/{key_id}/release", request, 200, wire.Released)

        return self._opened(self._continuing.asking(ask, seen), seen, key_id, grant_id, private)

    def break_glass(
        self, key_id: UUID, purpose_code: wire.PurposeCode, reference: str, purpose: str | None = None
    ) -> ImageKey:
        """The key without anybody's approval, for whoever has the role that the tenant's policy names.

        It is on record as what it is, and reported.  Raises as `release` does.
        """
        self._connection.prove()
        seen = self._continuing.before()
        private = X25519PrivateKey.generate()
        recipient = private.public_key().public_bytes_raw()
        wanted = {"purpose_code": purpose_code, "reference": reference, "purpose": purpose}

        def ask(known_size: int | None) -> wire.GlassBroken:
            request = _request(wire.BreakGlass, recipient=recipient, known_size=known_size, **wanted)
            return self._connection.send("POST", f"/v1/keys/{key_id}/break-glass", request, 200, wire.GlassBroken)

        answer = self._continuing.asking(ask, seen)
        return self._opened(answer.released, seen, key_id, answer.grant.id, private)

    def _opened(
        self, answer: wire.Released, seen: Seen | None, key_id: UUID, grant_id: UUID, private: X25519PrivateKey
    ) -> ImageKey:
        recipient = private.public_key().public_bytes_raw()
        if answer.key_id != key_id:
            raise ServerMisbehaved("the key server released another key than the one asked for; ask its operator")
        self.last_receipt = answer.receipt
        if self._log_key is not None:
            checkpoint = verify_receipt(answer.receipt, key_id, grant_id, recipient, self._log_key)
            self._continuing.take(answer.receipt, checkpoint, seen, self.prove_consistency)
        return ImageKey(key_id, open_key(answer.sealed_key, private, release_info(key_id, grant_id)))

    def checkpoint(self) -> str:
        """The audit log's signed checkpoint, for auditors; `faceseal.translog.open_checkpoint` opens it."""
        return self._connection.get("/v1/audit/checkpoint", wire.Checkpoint).checkpoint

    def prove_consistency(self, old_size: int, size: int) -> list[bytes]:
        """The server's proof that its log of `size` entries continues that of `old_size`; not verified here."""
        answer = self._connection.get(f"/v1/audit/consistency?old_size={old_size}&size={size}", wire.Consistency)
        if (answer.old_size, answer.size) != (old_size, size):
            raise ServerMisbehaved("the key server proved something else than was asked for; ask its operator")
        return answer.proof

    def info(self, key_id: UUID) -> wire.KeyInfo:
        """What the server says about a key."""
        return _about(self._connection.get(f"/v1/keys/{key_id}", wire.KeyInfo), key_id)

    def list_keys(self) -> Sequence[wire.KeyInfo]:
        """The newest keys that the token may see, at most 100."""
        return self._connection.get("/v1/keys", wire.KeyPage).keys

    def search_keys(self, labels: Mapping[str, str] | None = None, **wanted: Unpack[Wanted]) -> Iterator[wire.KeyInfo]:
        """All keys that fit, newest first, read a page at a time; see `keysearch.Wanted`."""
        return search(self._connection, labels or {}, wanted)

    def look_up(
        self, *, sealed_digest: bytes | None = None, perceptual_hash: bytes | None = None
    ) -> list[wire.KeyMatch]:
        """The keys that a photo with this digest (32 bytes), or about this hash (8 bytes), may be sealed with."""
        return look_up(self._connection, sealed_digest, perceptual_hash)

    def search_audit(self, **wanted: Unpack[WantedEntries]) -> FoundEntries:
        """All entries of the tenant's audit log that fit, newest first; for auditors.  See `auditsearch.WantedEntries`.

        The search itself is on record.
        """
        return search_audit(self._connection, wanted)

    def who_has_seen(
        self,
        *,
        key_id: UUID | None = None,
        sealed_digest: bytes | None = None,
        perceptual_hash: bytes | None = None,
    ) -> SeenBy:
        """Who asked for a photo's key, decided on it, was given it or refused, newest first; for auditors.

        The photo is named by its key, by its digest (32 bytes) or its hash (8 bytes).
        """
        return who_has_seen(self._connection, key_id, sealed_digest, perceptual_hash)

    def revoke_key(self, key_id: UUID) -> wire.KeyInfo:
        """From the next request on, the key is not released any more; the older name of `suspend_key`."""
        return self._change_key(key_id, "revoke")

    def suspend_key(self, key_id: UUID) -> wire.KeyInfo:
        """From the next request on, the key is not released any more, until it is resumed."""
        return self._change_key(key_id, "suspend")

    def resume_key(self, key_id: UUID) -> wire.KeyInfo:
        """A suspended key is released again."""
        return self._change_key(key_id, "resume")

    def schedule_destruction(self, key_id: UUID) -> wire.KeyInfo:
        """From the next request on, the key is not released; after the server's waiting period it is destroyed."""
        return self._change_key(key_id, "schedule-destruction")

    def cancel_destruction(self, key_id: UUID) -> wire.KeyInfo:
        """The key is kept, suspended; RequestRejected once its time is over."""
        return self._change_key(key_id, "cancel-destruction")

    def request_grant(
        self,
        key_ids: Sequence[UUID] = (),
        purpose: str | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        purpose_code: wire.PurposeCode = wire.PurposeCode.OTHER,
        reference: str | None = None,
        uses: int = 1,
        valid_for: int = 86400,
        not_before: int | None = None,
    ) -> wire.Grant:
        """Ask for keys, to be released to this client: by their ids, or those that carry all the labels
        when the grant is approved.

        Each use releases one key.  `purpose` says in words what for, and may be left out for
        another `purpose_code` than other; `valid_for` counts seconds from the approval, or
        from `not_before` (seconds since 1970) if that is later.
        """
        self._connection.prove()
        request = _request(
            wire.RequestGrant,
            key_ids=list(key_ids),
            labels=dict(labels or {}),
            purpose_code=purpose_code,
            purpose=purpose,
            reference=reference,
            uses=uses,
            valid_for=valid_for,
            not_before=not_before,
        )
        return self._connection.send("POST", "/v1/grants", request, 201, wire.Grant)

    def grant(self, grant_id: UUID) -> wire.Grant:
        """A grant; with its token if it is approved and your own."""
        return _about(self._connection.get(f"/v1/grants/{grant_id}", wire.Grant), grant_id)

    def list_grants(self) -> Sequence[wire.Grant]:
        """The newest hundred of the grants that the token may see; `search_grants` finds all."""
        return self._connection.get("/v1/grants", wire.GrantPage).grants

    def search_grants(
        self,
        *,
        state: wire.GrantState | None = None,
        requested_by: str | None = None,
        key_id: UUID | None = None,
        purpose_code: wire.PurposeCode | None = None,
    ) -> Iterator[wire.Grant]:
        """All grants that the token may see and that fit, newest first, asked for a page at a time."""
        fields = {"state": state, "requested_by": requested_by, "key_id": key_id, "purpose": purpose_code}
        query = {name: str(value) for name, value in fields.items() if value is not None}
        while True:
            page = self._connection.get(f"/v1/grants?{urlencode(query)}", wire.GrantPage)
            yield from page.grants
            if page.next is None:
                return
            if page.next == query.get("cursor"):
                raise ServerMisbehaved("the key server sends the same page again and again; ask its operator")
            query["cursor"] = page.next

    def policy(self) -> PolicyInfo:
        """What grants that are requested now have to keep to; for administrators."""
        return self._connection.get("/v1/policy", PolicyInfo)

    def approve_grant(self, grant_id: UUID) -> wire.Grant:
        """Allow what the grant asks for; not for its requester."""
        return self._decide(grant_id, "approve")

    def deny_grant(self, grant_id: UUID) -> wire.Grant:
        """Refuse what the grant asks for."""
        return self._decide(grant_id, "deny")

    def revoke_grant(self, grant_id: UUID) -> wire.Grant:
        """From the next request on, an approved grant releases nothing any more."""
        return self._decide(grant_id, "revoke")

    def _change_key(self, key_id: UUID, verb: str) -> wire.KeyInfo:
        return _about(self._connection.send("POST", f"/v1/keys/{key_id}/{verb}", None, 200, wire.KeyInfo), key_id)

    def _decide(self, grant_id: UUID, verb: str) -> wire.Grant:
        return _about(self._connection.send("POST", f"/v1/grants/{grant_id}/{verb}", None, 200, wire.Grant), grant_id)

    def _resolve(self, grant: str) -> tuple[UUID, str]:
        """Id and token of what the user passed as a grant."""
        own = as_grant_id(grant)
        if own is None:
            try:
                return grant_id_of(grant), grant
            except ValueError:
                raise AccessDenied(
                    "this is not a grant; give its id or its token (see: faceseal grants list)"
                ) from None
        answer = self.grant(own)
        if answer.token is None:
            raise AccessDenied(f"the grant {own} {_NOT_APPROVED[answer.state]}")
        if answer.not_before is not None and time.time() < answer.not_before - _CLOCKS_DIFFER:
            begins = datetime.fromtimestamp(answer.not_before, UTC).isoformat()
            raise AccessDenied(f"the grant {own} begins at {begins}; try again then")
        if answer.jkt not in (None, self._connection.prove()):
            raise AccessDenied(
                f"the grant {own} belongs to the client that requested it, with the key {answer.jkt}; "
                "restore there, or request another from here"
            )
        try:
            if grant_id_of(answer.token) != own:
                raise ValueError
        except ValueError:
            raise ServerMisbehaved("the key server sent no token of the grant asked for; ask its operator") from None
        return own, answer.token


Described = TypeVar("Described", wire.KeyInfo, wire.Grant)


def _about(answer: Described, asked: UUID) -> Described:
    if answer.id != asked:
        raise ServerMisbehaved("the key server answered about something else than was asked for; ask its operator")
    return answer
