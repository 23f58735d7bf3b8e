"""make bench-races: thousands of races between two replicas on one database, on SQLite and on PostgreSQL.

The races are those of tests/support/replica_races.py; the test suite runs a few rounds of each.  Exits
with 1 if one round went wrong.
"""

from __future__ import annotations

import argparse
import logging
import secrets
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "support"))

from postgresql_server import postgresql_programs, running_postgresql
from replica_races import RACES, Arena, arena
from server import _installed

from keyserver import installation
from keyserver.settings import Settings


def main() -> None:
    options = argparse.ArgumentParser(description="Run races, many times.")
    options.add_argument("--rounds", type=int, default=500, help="of each race on each database")
    options.add_argument("--database", choices=["sqlite", "postgresql"], help="only one of them")
    options.add_argument("--race", nargs="+", choices=[race.__name__ for race in RACES], help="only these")
    options.add_argument("--seed", type=int, default=secrets.randbelow(1 << 32))
    asked = options.parse_args()
    # One race breaks the glass in every round, which the server rightly says each time.
    logging.getLogger("keyserver.service.breakglass").setLevel(logging.ERROR)
    programs = postgresql_programs()
    print(f"seed {asked.seed}", flush=True)
    wrong = 0
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        installed: dict[str, Settings] = {}
        if asked.database != "postgresql":
            installed["sqlite"] = Settings(data=folder / "sqlite")
            installation.initialise(installed["sqlite"], "default", int(time.time())).database.close()
        if asked.database != "sqlite":
            if programs is None:
                sys.exit("PostgreSQL's server programs are not installed: apt install postgresql")
            url = stack.enter_context(running_postgresql(programs, durable=False))
            installed["postgresql"] = _installed(folder / "postgresql", url)
        for name, settings in installed.items():
            there = stack.enter_context(arena(settings, asked.seed))
            for race in RACES:
                if not asked.race or race.__name__ in asked.race:
                    wrong += _print_race(name, race, there, asked.rounds)
    sys.exit(1 if wrong else 0)


def _print_race(database: str, race: Callable[[Arena], str | None], there: Arena, rounds: int) -> int:
    began = time.monotonic()
    found = [why for why in (race(there) for _ in range(rounds)) if why is not None]
    seconds = time.monotonic() - began
    print(f"{database:12}{race.__name__:22}{rounds:8,} rounds{len(found):6,} wrong{seconds:8.0f} s", flush=True)
    for why in found[:5]:
        print(f"    {why}")
    return len(found)


if __name__ == "__main__":
    main()
