"""make bench-killed: replicas are killed (SIGKILL) under load, clients go on, and then the books must balance.

Two replicas on one PostgreSQL whose commits wait for the disk, behind a TCP balancer.  Clients
of the SDK create keys, request and approve grants and release, each token bound to a key
(DPoP), each POST with an Idempotency-Key; one that fails is sent again, to whichever replica
is there.  Exits with 1 if anything does not fit.
"""

from __future__ import annotations

import argparse
import secrets
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
from customers import Customer, Killer, patient, run_under_kills
from postgresql_server import postgresql_programs, running_postgresql
from server import _installed
from server_process import ServerProcess

from keyserver import installation

REPLICAS = 2
LONGEST_LIFE = 3.0
"""Seconds between a replica's start and its next death, at most."""


def main() -> None:
    options = argparse.ArgumentParser(description="Kill replicas under load.")
    options.add_argument("--kills", type=int, default=200)
    options.add_argument("--clients", type=int, default=6)
    options.add_argument("--seed", type=int, default=secrets.randbelow(1 << 32))
    asked = options.parse_args()
    programs = postgresql_programs()
    if programs is None:
        sys.exit("PostgreSQL's server programs are not installed: apt install postgresql")
    print(f"seed {asked.seed}", flush=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        patient(stack.enter_context(pytest.MonkeyPatch.context()))
        settings = _installed(folder / "data", stack.enter_context(running_postgresql(programs, durable=True)))
        ports = installation.open_ports(settings)
        log_key = str(ports.signer.verifier_key)
        replicas = [
            stack.enter_context(ServerProcess(settings.data, folder / f"{number}.log", database_url=settings.url))
            for number in range(REPLICAS)
        ]
        balancer = stack.enter_context(Balancer([replica.port for replica in replicas]))
        customers = [Customer(balancer.url, settings, number, log_key) for number in range(asked.clients)]
        killers = [
            Killer(replica, asked.kills // REPLICAS, asked.seed + number, LONGEST_LIFE)
            for number, replica in enumerate(replicas)
        ]
        began = time.monotonic()
        failures = run_under_kills(customers, killers)
        seconds = time.monotonic() - began
        told = Told()
        for customer in customers:
            told.add(customer.told)
        found = [f"{type(failure).__name__}: {failure}" for failure in failures]
        found += violations(ports, told, folder / "log.jsonl")
        _print("kills of a replica", sum(killer.killed for killer in killers))
        _print("seconds", round(seconds))
        _print("clients", asked.clients)
        for what, count in sum((customer.done for customer in customers), Counter[str]()).items():
            _print(what, count)
        _print("connections cut before their answer", balancer.cut)
        _print("violations", len(found))
        ports.database.close()
    for line in found[:20]:
        print(line)
    sys.exit(1 if found else 0)


def _print(what: str, number: int) -> None:
    print(f"{what:40}{number:10,}", flush=True)


if __name__ == "__main__":
    main()
