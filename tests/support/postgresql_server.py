"""A PostgreSQL server of one's own, from the installed programs, on a free port of this machine."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4


def postgresql_programs() -> Path | None:
    """The folder of initdb and postgres, if they are installed."""
    on_path = shutil.which("initdb")
    folders = [Path(on_path).parent] if on_path else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists() and (folder / "postgres").exists()), None)


@contextmanager
def running_postgresql(programs: Path, *, durable: bool) -> Iterator[str]:
    """URL, without a database's name, of a server that lives as long as the block.

    durable: whether a commit waits for the disk, as it must outside of tests.
    """
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
        pg_ctl = [programs / "pg_ctl", "-D", data, "-w", "-l", folder / "log"]
        subprocess.run([*pg_ctl, "-o", options, "start"], check=True, stdout=subprocess.DEVNULL, **run)
        try:
            yield f"postgresql+psycopg://test:{password}@127.0.0.1:{port}"
        finally:
            stop = [*pg_ctl, "-m", "immediate", "stop"]
            subprocess.run(stop, check=True, stdout=subprocess.DEVNULL, **run)
    finally:
        shutil.rmtree(folder)
