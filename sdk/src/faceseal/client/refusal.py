"""Which error an unsuccessful HTTP answer of the key server means."""

from __future__ import annotations

from faceseal import wire
from faceseal.client.credentials import NONCE_WANTED, PROOF_REFUSED
from faceseal.client.parse import parse_message
from faceseal.errors import (
    AccessDenied,
    KeySourceError,
    RequestNotUnderstood,
    RequestRejected,
    ServerMisbehaved,
    ServerUnavailable,
    UnknownKey,
)

LONGEST_DETAIL = 300
"""Characters of a server's own words that an error repeats."""
_BUSY = frozenset({429, 502, 503, 504})
"""May come from a proxy in front of the server, and then without a problem document."""


def refusal(url: str, status: int, media_type: str, body: bytes, challenge: str = "") -> KeySourceError:
    """The error to raise for an answer that is not the expected success; `challenge` is its `WWW-Authenticate`.

    Only an RFC 9457 problem document speaks for the key server; any other page with, say,
    status 404 means that something else listens at `url`.
    """
    if status in _BUSY:
        doubted = _problem(status, media_type, body)
        if doubted is not None and doubted.type == wire.PROBLEM_BASE + "log-in-doubt":
            return ServerUnavailable(
                f"the key server at {url} releases no key now: its audit log is in doubt, or lacks its witnesses; "
                "tell its operator"
            )
        return ServerUnavailable(f"the key server at {url} cannot serve now (HTTP {status}); try again later")
    if 300 <= status < 400:
        return ServerMisbehaved(f"the key server at {url} redirects elsewhere; give the URL that it really has")
    problem = _problem(status, media_type, body)
    if problem is None:
        return ServerMisbehaved(f"{url} answered HTTP {status} in a way that no key server does; check the URL")
    if status == 401 and NONCE_WANTED in challenge:
        return ServerMisbehaved(
            f"the key server at {url} does not take the nonces that it gives; "
            "its operator must give all replicas the same nonce.key"
        )
    if status == 401 and PROOF_REFUSED in challenge:
        return AccessDenied(
            "the key server does not accept the proof of this client's key; check this machine's clock, "
            f"and that the server knows itself as {url} (KEYSERVER_EXTERNAL_URL)"
        )
    if status == 401:
        return AccessDenied("the key server does not accept the token: it is wrong, expired or for another server")
    if status == 403:
        return AccessDenied(
            "the key server refuses: the token, the grant or the key's state does not allow this; "
            "its operator finds the reason in the audit log"
        )
    if status == 404:
        return UnknownKey("the key server has no such key or grant, or does not show it to this token")
    if status in (409, 413, 422):
        rejected = RequestNotUnderstood if status == 422 else RequestRejected
        return rejected(f"the key server rejects the request: {_own_words(problem)}")
    return ServerMisbehaved(f"the key server at {url} failed (HTTP {status}); ask its operator")


class ComeAgain(Exception):
    """The server has not begun, or not ended: the same request may be sent again.  Never leaves the client.

    `pause` is for how many seconds it asks; `otherwise` is the error if there is no other try.
    """

    def __init__(self, pause: float, otherwise: KeySourceError) -> None:
        super().__init__(str(otherwise))
        self.pause = pause
        self.otherwise = otherwise


def may_come_again(status: int, media_type: str, body: bytes) -> bool:
    """Whether an answer means that the same request, with the same Idempotency-Key, is worth another try."""
    if status in _BUSY:
        return True
    problem = _problem(status, media_type, body) if status == 409 else None
    return problem is not None and problem.type == wire.PROBLEM_BASE + "in-progress"


def pause_of(retry_after: str) -> float:
    """Seconds that a Retry-After header asks for; 0 for a date or nonsense."""
    return float(retry_after) if retry_after.isascii() and retry_after.isdigit() and len(retry_after) <= 6 else 0.0


def _problem(status: int, media_type: str, body: bytes) -> wire.Problem | None:
    if media_type != "application/problem+json":
        return None
    try:
        problem = parse_message(wire.Problem, body)
    except ValueError:
        return None
    return problem if problem.status == status else None


def _own_words(problem: wire.Problem) -> str:
    words = "".join(character if character.isprintable() else " " for character in problem.detail or problem.title)
    return words if len(words) <= LONGEST_DETAIL else words[: LONGEST_DETAIL - 1] + "…"
