"""make bench-faults: a database that stands still for half a minute, and crashes, under two replicas at work.

PostgreSQL with durable commits.  In each round all its processes are stopped (SIGSTOP) for so
many seconds, go on, and then crash and are started again, while clients of the SDK create keys,
request and approve grants and release.  No replica is started again.  Exits with 1 if what the
clients were told, the database and the exported log are not one story.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "support"))

from balancer import Balancer
from books import Told, violations
from customers import Customer, patient, run_under_kills
from database_trouble import DatabaseTrouble
from postgresql_server import postgresql_programs, running_server
from server import _installed
from server_process import ServerProcess

from keyserver import installation

REPLICAS = 2


def main() -> None:
    options = argparse.ArgumentParser(description="Stop and crash a database under load.")
    options.add_argument("--seconds", type=float, default=30, help="for which it stands still")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--clients", type=int, default=6)
    asked = options.parse_args()
    programs = postgresql_programs()
    if programs is None:
        sys.exit("PostgreSQL's server programs are not installed: apt install postgresql")
    found, done = [], Counter[str]()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        patient(stack.enter_context(pytest.MonkeyPatch.context()))
        server = stack.enter_context(running_server(programs, durable=True))
        settings = _installed(folder / "data", server.url)
        ports = installation.open_ports(settings)
        replicas = [
            stack.enter_context(ServerProcess(settings.data, folder / f"{number}.log", database_url=settings.url))
            for number in range(REPLICAS)
        ]
        balancer = stack.enter_context(Balancer([replica.port for replica in replicas]))
        log_key, told, began = str(ports.signer.verifier_key), Told(), time.monotonic()
        for turn in range(asked.rounds):
            numbers = range(turn * asked.clients, (turn + 1) * asked.clients)
            customers = [Customer(balancer.url, settings, number, log_key) for number in numbers]
            failures = run_under_kills(customers, [DatabaseTrouble(server, asked.seconds)])
            found += [f"{type(failure).__name__}: {failure}" for failure in failures]
            for customer in customers:
                told.add(customer.told)
                done += customer.done
        found += ["a replica ended" for replica in replicas if replica.process.poll() is not None]
        found += violations(ports, told, folder / "log.jsonl")
        ports.database.close()
        print(f"{asked.rounds} rounds, {asked.seconds:.0f} s each, {time.monotonic() - began:.0f} s in all")
        for what, count in done.items():
            print(f"{what:40}{count:10,}")
        print(f"{'violations':40}{len(found):10,}")
    for line in found[:20]:
        print(line)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
