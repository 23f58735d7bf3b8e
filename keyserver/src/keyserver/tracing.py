"""Spans for OpenTelemetry: request, authenticate, decide, database, root.  Off unless `start` or `use` was called.

Attributes are methods, route templates, statuses, actions and counts.  No span has the text
of an exception: only its type.  A caller's own `traceparent` is not looked at.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from keyserver.errors import SetupError
from keyserver.keywrap import Root

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

SERVICE = "faceseal-keyserver"
Value = str | int
_EXPORT_SECONDS = 5
_tracer: Tracer | None = None
_lock = threading.Lock()


@contextmanager
def span(name: str, **attributes: Value) -> Iterator[Callable[..., None]]:
    """A span around the block, if traces are on; gives what adds attributes to it."""
    if _tracer is None:
        yield _nothing
        return
    # What an exception says may be a secret: neither its text nor its trace goes along.
    with _tracer.start_as_current_span(
        name, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as current:
        try:
            yield lambda **more: current.set_attributes(more)
        except BaseException as failure:
            _mark_failed(current, failure)
            raise


def use(provider: TracerProvider) -> Callable[[], None]:
    """Give all spans to this provider from now on; returns what ends it, and sends what is left."""
    global _tracer
    with _lock:
        _tracer = provider.get_tracer(SERVICE)

    def stop() -> None:
        global _tracer
        with _lock:
            _tracer = None
        provider.shutdown()

    return stop


def start(endpoint: str) -> Callable[[], None]:
    """Send spans to an OTLP collector over HTTP (its whole URL), in the background; returns what ends it.

    Raises SetupError if the libraries are not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise SetupError("traces need a library: pip install 'faceseal-keyserver[traces]'") from None
    provider = TracerProvider(resource=Resource({"service.name": SERVICE}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, timeout=_EXPORT_SECONDS)))
    return use(provider)


class TracedRoot:
    """A root whose every use is a span."""

    def __init__(self, root: Root) -> None:
        self._root = root

    def wrap(self, kek: bytes, context: bytes) -> bytes:
        """See `Root`."""
        with span("root", operation="wrap"):
            return self._root.wrap(kek, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """See `Root`."""
        with span("root", operation="unwrap"):
            return self._root.unwrap(wrapped, context)


def _nothing(**_: Value) -> None:
    """Traces are off."""


def _mark_failed(current: Span, failure: BaseException) -> None:
    from opentelemetry.trace import StatusCode

    current.set_status(StatusCode.ERROR)
    current.set_attribute("error.type", type(failure).__qualname__)
