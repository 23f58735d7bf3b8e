"""A PostgreSQL server of one's own, from the installed programs, on a free port of this machine."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4


def postgresql_programs() -> Path | None:
    """The folder of initdb and postgres, if they are installed."""
    on_path = shutil.which("initdb")
    folders = [Path(on_path).parent] if on_path else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists() and (folder / "postgres").exists()), None)


@dataclass(frozen=True)
class Server:
    """A server that runs: its URL without a database's name, its folder, and how its programs are called."""

    url: str
    folder: Path
    run: dict[str, Any]
    pg_ctl: list[Any]

    def restart_at_once(self) -> None:
        """As after a crash: no session is ended, and what was committed is recovered from the disk."""
        for command in (["-m", "immediate", "stop"], ["start"]):
            subprocess.run([*self.pg_ctl, *command], check=True, stdout=subprocess.DEVNULL, **self.run)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """No process of it does anything within the block, and connections stay open (SIGSTOP)."""
        leader = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        # The postmaster first, so that it starts no more of them.
        os.kill(leader, signal.SIGSTOP)
        children = [int(pid) for pid in Path(f"/proc/{leader}/task/{leader}/children").read_text().split()]
        for pid in children:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in [*children, leader]:
                os.kill(pid, signal.SIGCONT)


@contextmanager
def running_postgresql(programs: Path, *, durable: bool) -> Iterator[str]:
    """URL, without a database's name, of a server that lives as long as the block.

    durable: whether a commit waits for the disk, as it must outside of tests.
    """
    with running_server(programs, durable=durable) as server:
        yield server.url


@contextmanager
def running_server(programs: Path, *, durable: bool) -> Iterator[Server]:
    """The same server, for whoever stops it and starts it again."""
    # PostgreSQL refuses to run as root, and then its folder must be another user's.
    user: dict[str, Any] = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="keyserver-postgresql-"))
    password = uuid4().hex
    try:
        (folder / "password").write_text(password)
        if user:
            for path in (folder, folder / "password"):
                shutil.chown(path, user["user"], user["group"])
        run: dict[str, Any] = {"cwd": folder, "env": {"LC_ALL": "C"}, **user}
        data = folder / "data"
        initdb = [programs / "initdb", "-D", data, "-U", "test", "-A", "scram-sha-256", "--no-sync", "-E", "UTF8"]
        subprocess.run([*initdb, f"--pwfile={folder / 'password'}"], check=True, stdout=subprocess.DEVNULL, **run)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
        if not durable:
            options += " -c fsync=off"
        pg_ctl = [programs / "pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", options]
        subprocess.run([*pg_ctl, "start"], check=True, stdout=subprocess.DEVNULL, **run)
        try:
            yield Server(f"postgresql+psycopg://test:{password}@127.0.0.1:{port}", folder, run, pg_ctl)
        finally:
            stop = [*pg_ctl, "-m", "immediate", "stop"]
            subprocess.run(stop, check=True, stdout=subprocess.DEVNULL, **run)
    finally:
        shutil.rmtree(folder)
