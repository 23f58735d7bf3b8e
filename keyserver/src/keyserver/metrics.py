"""What is counted, for Prometheus.  No label names a tenant, a subject, a key or a grant.

Whoever has something to count calls a function of this file; nobody else knows the library.
Counters are the process's own: each replica has its `metrics_listen`, and Prometheus adds up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from keyserver.actions import Action
from keyserver.audit import Entry, Outcome
from keyserver.errors import SetupError, StoreUnavailable
from keyserver.policy import Reason
from keyserver.store import log
from keyserver.store.database import Database

REGISTRY = CollectorRegistry()
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_REASONS = frozenset(reason.value for reason in Reason)
_OTHER = "other"

_requests = Counter("keyserver_requests", "Answers.", ["method", "route", "status"], registry=REGISTRY)
_seconds = Histogram(
    "keyserver_request_seconds", "From request to answer.", ["method", "route"], buckets=_SECONDS, registry=REGISTRY
)
_decisions = Counter(
    "keyserver_decisions", "Releases, and refusals of everything.", ["action", "outcome", "reason"], registry=REGISTRY
)
_break_glass = Counter("keyserver_break_glass", "Releases without approval, by a named role.", registry=REGISTRY)
_limited = Counter("keyserver_rate_limited", "Requests over a limit.", ["limit", "kind"], registry=REGISTRY)
_refused = Counter("keyserver_refused_busy", "Requests that found no place, or no time.", ["why"], registry=REGISTRY)
_replayed = Counter("keyserver_replayed", "Answers given again to the same Idempotency-Key.", registry=REGISTRY)
_unauthenticated = Counter("keyserver_authentication_failures", "Tokens that did not count.", registry=REGISTRY)
_in_doubt = Gauge("keyserver_log_in_doubt", "1 while no key is released for doubts.", registry=REGISTRY)
_stopped = Counter("keyserver_releases_stopped", "Releases refused while the log was in doubt.", registry=REGISTRY)
_witnessed = Gauge("keyserver_witnessed_entries", "Entries that witnesses have cosigned.", registry=REGISTRY)
_pushed_entries = Gauge(
    "keyserver_sink_entries", "Entries of the newest checkpoint that the sink has.", ["sink"], registry=REGISTRY
)
_pushed_at = Gauge(
    "keyserver_sink_timestamp_seconds", "When the sink last took or confirmed one.", ["sink"], registry=REGISTRY
)
_push_failures = Counter("keyserver_sink_failures", "Pushes that came to nothing.", ["sink"], registry=REGISTRY)


def observe_request(method: str, route: str | None, status: int, seconds: float) -> None:
    """An answer; `route` is the template of the path, None if there is no such path."""
    # A path or method that a caller made up must not become a label.
    method, route = known_method(method), route or _OTHER
    _requests.labels(method, route, str(status)).inc()
    _seconds.labels(method, route).observe(seconds)


def known_method(method: str) -> str:
    """The method, or `other` for one that a caller made up."""
    return method if method in _METHODS else _OTHER


def count_decision(entry: Entry) -> None:
    """A decision that is on record.  To be called once its entry is committed."""
    reason = ""
    if entry.outcome is not Outcome.ALLOWED:
        word = (entry.reason or "").partition(":")[0]
        reason = word if word in _REASONS else _OTHER
    _decisions.labels(Action(entry.action).value, entry.outcome.value, reason).inc()


def count_break_glass() -> None:
    """A release that nobody approved.  To be called once its entry is committed."""
    _break_glass.inc()


def break_glass_count() -> float:
    """How many there were since this process started."""
    return REGISTRY.get_sample_value("keyserver_break_glass_total") or 0.0


def count_rate_limited(limit: str, kind: str) -> None:
    """A request over a limit: `client`, `tenant` or `address`, and which kind of action."""
    _limited.labels(limit, kind).inc()


def count_refused(why: str) -> None:
    """A request that was answered with 503 because the server is `busy`, `stopping` or took `too_long`."""
    _refused.labels(why).inc()


def count_replayed() -> None:
    """An answer that was given again."""
    _replayed.inc()


def count_unauthenticated() -> None:
    """A request whose token did not count."""
    _unauthenticated.inc()


def set_log_in_doubt(doubted: bool) -> None:
    """Whether releases are stopped because the log may not be the one that was published."""
    _in_doubt.set(int(doubted))


def count_stopped_release() -> None:
    """A transaction of releases that was refused while the log was in doubt, or lacked witnesses."""
    _stopped.inc()


def set_witnessed(size: int) -> None:
    """A checkpoint of so many entries was cosigned by enough witnesses."""
    _witnessed.set(size)


def set_pushed(sink: str, size: int, at: float) -> None:
    """A sink took, or confirmed that it has, a checkpoint of so many entries (seconds since 1970)."""
    _pushed_entries.labels(sink).set(size)
    _pushed_at.labels(sink).set(at)


def count_push_failure(sink: str) -> None:
    """A checkpoint that a sink did not take."""
    _push_failures.labels(sink).inc()


class InstallationCollector(Collector):
    """What is read when it is asked for: size of the audit log, use of the connection pool."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def collect(self) -> Iterable[Metric]:
        """See `Collector`.  A database that does not answer has no sizes."""
        in_use = self._database.connections_in_use()
        yield GaugeMetricFamily("keyserver_database_connections", "Connections in use.", value=in_use)
        try:
            with self._database.reading() as session:
                head = log.head(session)
        except StoreUnavailable:
            return
        if head is not None:
            yield GaugeMetricFamily("keyserver_audit_entries", "Entries of the audit log.", value=head.size)


def exposition(registry: CollectorRegistry = REGISTRY) -> bytes:
    """All metrics in Prometheus's text format."""
    return generate_latest(registry)


def serve(listen: str, database: Database) -> Callable[[], None]:
    """Answer Prometheus on `HOST:PORT` from now on; returns what ends it.  Raises SetupError."""
    host, _, port = listen.rpartition(":")
    collector = InstallationCollector(database)
    try:
        server, thread = start_http_server(int(port), host.strip("[]"), REGISTRY)
    except OSError as cause:
        raise SetupError(f"cannot listen on {listen} for metrics: {cause.strerror}") from None
    REGISTRY.register(collector)
    return lambda: _stop(server, thread, collector)


def _stop(server: WSGIServer, thread: threading.Thread, collector: Collector) -> None:
    REGISTRY.unregister(collector)
    server.shutdown()
    server.server_close()
    thread.join()
