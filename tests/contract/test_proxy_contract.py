"""The real client at a key server behind a reverse proxy that takes a path prefix away."""

import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from faceseal.client import KeyServer
from faceseal.errors import AccessDenied
from faceseal.wire import Scope

PREFIX = "/faceseal"


class _Proxy(BaseHTTPRequestHandler):
    """Passes requests on to `server.backend`, without the prefix and under the backend's own name."""

    protocol_version = "HTTP/1.1"

    def _pass_on(self):
        if not self.path.startswith(f"{PREFIX}/"):
            self.send_error(404)
            return
        content = self.rfile.read(int(self.headers.get("content-length", "0")))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        answer = httpx.request(
            self.command, self.server.backend + self.path.removeprefix(PREFIX), content=content, headers=headers
        )
        self.send_response(answer.status_code)
        for name, value in answer.headers.items():
            if name not in ("server", "date", "connection"):
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.content)

    do_GET = do_POST = do_PUT = _pass_on  # noqa: N815 - names of http.server

    def log_message(self, *_):
        pass


@contextmanager
def replica_behind(data, external_url):
    """Address of a further process of the key server, which believes to be at `external_url`."""
    command = [sys.executable, "-m", "keyserver", "serve", "--data", str(data), "--port", "0"]
    environment = {**os.environ, "KEYSERVER_EXTERNAL_URL": external_url}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()
            process.wait(timeout=20)


@pytest.fixture
def proxied(running):
    """The proxy's address, prefix included, and that of the server behind it."""
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), _Proxy)
    url = f"http://127.0.0.1:{proxy.server_port}{PREFIX}"
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    with replica_behind(running.data, url) as proxy.backend:
        yield url, proxy.backend
    proxy.shutdown()
    proxy.server_close()


def test_a_client_of_the_proxy_gets_its_keys_and_one_that_goes_around_it_does_not(running, client, proxied):
    url, backend = proxied
    with KeyServer(url, token=running.token("rita"), log_key=running.log_key) as rita:
        key = rita.create()
        grant = rita.request_grant([key.key_id], "a test")
        # Approved at another replica of the same data, at its own address.
        client("ben", Scope.GRANTS_APPROVE).approve_grant(grant.id)
        assert rita.release(key.key_id, str(grant.id)) == key
    with (
        KeyServer(backend, token=running.token("rita")) as around,
        pytest.raises(AccessDenied, match=f"knows itself as {backend}"),
    ):
        around.request_grant([key.key_id], "a test")
