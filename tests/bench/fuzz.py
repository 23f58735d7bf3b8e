"""make bench-fuzz: schemathesis over the whole document, some minutes, with each kind of token on each database.

Prints, for each, the seconds, the requests by phase, the operations that never succeeded, and
every finding with its request; ends with 1 if there is one.  `make bench-fuzz SEED=8` asks
other questions.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from uuid import uuid4

sys.path.append(str(Path(__file__).parents[1] / "support"))

from fuzzed_server import TENANT, fuzz_server
from fuzzing import Findings
from postgresql_server import postgresql_programs, running_postgresql
from sqlalchemy import text

from keyserver import installation
from keyserver.settings import Settings
from keyserver.store.database import Database

EXAMPLES = 60
CHAINS = 300
NOW = 1_800_000_000


def main(seed: int) -> int:
    """How many findings."""
    logging.disable(logging.CRITICAL)
    programs = postgresql_programs()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = {"SQLite": ""}
        if programs is not None:
            servers["PostgreSQL"] = stack.enter_context(running_postgresql(programs, durable=False))
        total = 0
        for (name, server), bound in product(servers.items(), (False, True)):
            settings = _installed(folder / f"{name}-{bound}", server)
            ports = installation.open_ports(settings, lambda: NOW)
            began = time.perf_counter()
            found = fuzz_server(ports, bound=bound, quorum=int(bound), seed=seed, examples=EXAMPLES, chains=CHAINS)
            _print(f"{name}, {'bound' if bound else 'bearer'} token", time.perf_counter() - began, found)
            ports.database.close()
            total += len(found.failures)
    return total


def _installed(data: Path, server: str) -> Settings:
    url = None
    if server:
        url = f"{server}/{_new_database(server)}"
    settings = Settings(data=data, database_url=url)
    installation.initialise(settings, TENANT, NOW).database.close()
    return settings


def _new_database(server: str) -> str:
    name = f"fuzz_{uuid4().hex}"
    database = Database(f"{server}/postgres")
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    database.close()
    return name


def _print(what: str, seconds: float, found: Findings) -> None:
    phases = ", ".join(f"{count} {phase}" for phase, count in found.requests.items())
    succeeded = {operation for operation, status in found.answers if status < 300}
    never = sorted({operation for operation, _ in found.answers} - succeeded)
    print(f"{what}: {seconds:.0f} s, requests: {phases}; {len(found.failures)} findings")
    print(f"  never succeeded: {', '.join(never) or 'none'}")
    for failure in found.failures:
        print(f"  {failure}")


if __name__ == "__main__":
    sys.exit(1 if main(int(sys.argv[1])) else 0)
