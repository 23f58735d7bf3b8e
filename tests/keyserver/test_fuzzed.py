"""Schemathesis finds nothing: the document and the server say the same, whatever is asked.

`make bench-fuzz` is the same with many more requests, and each kind of token on each database.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fuzzed_server import DECISIONS, fuzz_server
from fuzzing import Findings

from keyserver.installation import open_ports
from keyserver.settings import Settings

NOW = 1_800_000_000
CHAINS = 40


@pytest.fixture
def findings(settings: Settings, database_kind: str) -> Iterator[Findings]:
    """Of a bearer token and grants in force at once on SQLite; of a bound token and approvals on PostgreSQL."""
    bound = database_kind == "postgresql"
    ports = open_ports(settings, lambda: NOW)
    yield fuzz_server(ports, bound=bound, quorum=int(bound), seed=7, examples=3, chains=CHAINS)
    ports.database.close()


def test_schemathesis_finds_nothing(findings: Any, database_kind: str) -> None:
    assert findings.failures == []
    # What never got anywhere has found nothing either.
    assert {"examples", "coverage", "fuzzing", "stateful"} == findings.requests.keys()
    assert findings.requests["stateful"] > 5 * CHAINS
    if database_kind == "sqlite":
        # Where a request is enough for a grant, there is nothing to approve or deny.
        assert findings.never == DECISIONS
    else:
        # It takes an approval, a look at the grant and a release, in this order: chance may have it otherwise.
        assert findings.never <= {"POST /v1/keys/{key_id}/release"}
