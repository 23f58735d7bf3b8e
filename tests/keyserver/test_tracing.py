"""Spans: one tree a request, no secret in any, and nothing at all unless it is asked for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from secret_watch import leaks
from server_process import ServerProcess, token_of
from starlette.testclient import TestClient

from keyserver import tracing
from keyserver.app import create_app
from keyserver.service import keys
from keyserver.settings import Settings

DATABASE_KINDS = ["sqlite"]
RECIPIENT = {"recipient": "CQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    stop = tracing.use(provider)
    yield exporter
    stop()


@pytest.fixture
def traced(world: Any) -> Any:
    """The same world, with a root whose uses are spans."""
    ports = replace(world.ports, root=tracing.TracedRoot(world.ports.root))
    with TestClient(create_app(ports, 16384), raise_server_exceptions=False) as client:
        yield replace(world, client=client)


def by_name(spans: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in spans.get_finished_spans() if span.name == name]


def test_a_request_is_one_tree_of_spans(traced: Any, spans: InMemorySpanExporter) -> None:
    answer = traced.person("alice").post("/v1/keys", RECIPIENT)
    (request,) = by_name(spans, "request")
    assert request.attributes == {
        "request_id": answer.headers["x-request-id"],
        "http.request.method": "POST",
        "http.route": "/v1/keys",
        "http.response.status_code": 201,
    }
    parents = {span.context.span_id: span.name for span in spans.get_finished_spans()}
    tree = {
        (span.name, parents.get(span.parent.span_id) if span.parent else None) for span in spans.get_finished_spans()
    }
    assert tree == {
        ("request", None),
        ("authenticate", "request"),
        ("decide", "request"),
        ("database", "decide"),
        ("root", "database"),
    }


def test_no_span_holds_a_secret_or_an_id_of_a_caller(
    traced: Any, spans: InMemorySpanExporter, no_secret_in_any_log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = traced.person("alice"), traced.person("bob")
    key, image_key = alice.create_key()
    _, token = traced.grant_token(alice, bob, key.id)
    alice.release(key.id, token)
    alice.release(key.id, token)

    def broken(*_: object) -> None:
        raise RuntimeError(f"choked on {token}")

    monkeypatch.setattr(keys, "list_keys", broken)
    assert alice.get("/v1/keys").status_code == 500
    told = [span.to_json() for span in spans.get_finished_spans()]
    assert not leaks(told, [image_key, token, alice.token, *no_secret_in_any_log.secrets])
    assert all(str(key.id) not in text and "alice" not in text and "choked" not in text for text in told)
    assert {"error.type": "RuntimeError"}.items() <= (by_name(spans, "request")[-1].attributes or {}).items()


def test_a_callers_own_trace_is_not_taken_over(traced: Any, spans: InMemorySpanExporter) -> None:
    parent = f"00-{'a' * 32}-{'b' * 16}-01"
    traced.client.request("BREW", "/v1/keys", headers={"traceparent": parent})
    (request,) = by_name(spans, "request")
    assert request.parent is None
    assert (request.attributes or {})["http.request.method"] == "other"


def test_without_it_there_are_no_spans(world: Any) -> None:
    with tracing.span("request") as more:
        more(count=1)
        assert tracing._tracer is None


class Collector:
    """An OTLP collector over HTTP on loopback, that parses what it is sent."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.received = b""
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.received += body
                request = ExportTraceServiceRequest.FromString(body)
                scopes = [scope for resource in request.resource_spans for scope in resource.scope_spans]
                collector.names += [span.name for scope in scopes for span in scope.spans]
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1/traces"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_a_real_server_sends_its_spans_to_a_collector_before_it_ends(
    settings: Settings, collector: Collector, tmp_path: Path
) -> None:
    token = token_of(settings, "alice")
    with ServerProcess(settings.data, tmp_path / "server.log", traces_endpoint=collector.url) as server:
        headers = {"Authorization": f"Bearer {token}"}
        assert httpx.post(f"{server.url}/v1/keys", headers=headers, json=RECIPIENT, timeout=30).status_code == 201
        server.process.terminate()
        assert server.process.wait(30) == 0
    assert {"request", "authenticate", "decide", "database", "root"} <= set(collector.names)
    assert token.encode() not in collector.received


def test_a_collector_that_is_not_there_costs_spans_and_nothing_else(
    settings: Settings, free_port: int, tmp_path: Path
) -> None:
    endpoint = f"http://127.0.0.1:{free_port}/v1/traces"
    with ServerProcess(settings.data, tmp_path / "server.log", traces_endpoint=endpoint) as server:
        headers = {"Authorization": f"Bearer {token_of(settings, 'alice')}"}
        assert httpx.post(f"{server.url}/v1/keys", headers=headers, json=RECIPIENT, timeout=30).status_code == 201
        server.process.terminate()
        assert server.process.wait(60) == 0
