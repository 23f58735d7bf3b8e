"""For tests of the client: the user's own folder is left alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def folder_of_the_clients_key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("FACESEAL_HOME", str(tmp_path_factory.mktemp("user") / "faceseal"))
        yield
