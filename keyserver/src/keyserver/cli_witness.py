"""keyserver witness-init, keyserver witness: cosigning the checkpoints of logs that others run."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from faceseal.translog import VerifierKey
from keyserver.witness import memory

Folder = Annotated[Path, typer.Option("--data", metavar="DIR", help="The witness's own folder.")]


def witness_init(
    data: Folder,
    name: Annotated[str, typer.Option(help="What it signs as, such as witness.example/w1; never changed.")],
) -> None:
    """Make a witness and its key, and print its verifier key; if there is one, print its again."""
    typer.echo(memory.create(data, name).key)


def witness(
    data: Folder,
    log: Annotated[list[str], typer.Option(metavar="KEY", help="Verifier key of a log; may be repeated.")],
    host: str = "127.0.0.1",
    port: int = 8490,
) -> None:
    """Cosign checkpoints of these logs, each only if it continues the last (C2SP tlog-witness), until SIGTERM.

    TLS is a proxy's task.
    """
    # Imported here: no other command of the operator's needs the web framework.
    from keyserver import logs, serving
    from keyserver.witness.app import create_witness_app
    from keyserver.witness.cosigning import Witness

    logs.configure("info")
    identity = memory.open_identity(data)
    with ExitStack() as stack:
        stack.enter_context(memory.only_one(data))
        keys = [VerifierKey.parse(each) for each in log]
        application = create_witness_app(Witness(data, identity, keys, time.time, time.monotonic))
        listening = stack.enter_context(serving.bind(host, port))
        address = f"[{host}]" if ":" in host else host
        line = f"witness {identity.name} listens on http://{address}:{listening.getsockname()[1]}"
        serving.run(
            application,
            listening,
            lambda: print(line, flush=True),
            stopping=application.state.admission.stop,
        )
