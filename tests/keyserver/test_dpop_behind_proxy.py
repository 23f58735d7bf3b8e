"""Where the server is not at the address that its clients know."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from keyserver import installation
from keyserver.app import create_app
from keyserver.settings import Settings


@pytest.mark.parametrize(
    "base", ["https://keys.example/faceseal", "https://keys.example/faceseal/", "HTTPS://KEYS.example:443/faceseal"]
)
def test_behind_a_proxy_proofs_are_for_the_address_that_clients_see(
    world: Any, alice: Any, settings: Settings, base: str
) -> None:
    fields = {**settings.model_dump(exclude={"database_url"}), "external_url": base}
    behind = Settings(**fields, database_url=settings.database_url)
    ports = installation.open_ports(behind, world.clock)
    seen = "https://keys.example/faceseal/v1/keys"
    with TestClient(create_app(ports, 16 * 1024)) as client:
        # The proxy has taken its prefix away, and names whatever host it likes.
        for url, expected in ((seen, 200), ("http://testserver/v1/keys", 401), ("https://keys.example/v1/keys", 401)):
            headers = {**alice.headers(alice.proof("GET", "", htu=url)), "Host": "backend.internal"}
            assert client.get("/v1/keys", headers=headers).status_code == expected
    ports.database.close()


@pytest.mark.parametrize(
    "url", ["keys.example", "ftp://keys.example", "https://u:p@keys.example", "https://k.example?x=1", ""]
)
def test_an_external_url_that_is_none_is_refused_when_the_server_starts(url: str) -> None:
    with pytest.raises(ValueError, match="external_url"):
        Settings(external_url=url)
