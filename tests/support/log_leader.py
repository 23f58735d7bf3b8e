"""A replica's release that can be watched: run as ``python log_leader.py lead|ask``, with JSON on stdin.

`lead` appends its entry, says so, and never commits: it holds the lead of the log until it is
killed.  `ask` says when it begins, waits for whoever leads, and says what was answered.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from uuid import UUID, uuid4

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from faceseal.wire import Release, Scope
from keyserver.audit.logkeys import LogKeys
from keyserver.installation import open_ports
from keyserver.policy import Caller
from keyserver.proof import Proof
from keyserver.service.release import Releases
from keyserver.settings import Settings


class Replica:
    """The process, seen from the test."""

    def __init__(self, kind: str, settings: Settings, caller: Caller, key_id: str, grant: str, now: int) -> None:
        given = {"data": str(settings.data), "url": None if settings.database_url is None else settings.url}
        given |= {"token_id": str(caller.token_id), "jkt": caller.proof.jkt if caller.proof else ""}
        given |= {"subject": caller.subject, "key": key_id, "grant": grant, "now": str(now)}
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__)), kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(given))
        self.process.stdin.close()

    def says(self) -> str:
        """Its next line; empty if it ended without one."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait(20)


def main(kind: str) -> None:
    given = json.load(sys.stdin)
    settings = Settings(data=Path(given["data"]), database_url=given["url"])
    ports = open_ports(settings, lambda: int(given["now"]))
    if kind == "lead":
        LogKeys.require_one = appended  # type: ignore[method-assign, assignment]
    proof = Proof(given["jkt"], str(uuid4()), ports.clock())
    claims = ports.issuer.verify_grant(given["grant"], ports.clock())
    caller = Caller(
        subject=given["subject"], tenant=claims.tenant, scopes=frozenset(Scope), token_id=given["token_id"], proof=proof
    )
    recipient = X25519PrivateKey.generate().public_key().public_bytes_raw()
    print("asking", flush=True)
    released = Releases(ports).release(caller, UUID(given["key"]), Release(grant=given["grant"], recipient=recipient))
    print(released.receipt.model_dump_json(), flush=True)


def appended(*_: object) -> None:
    """In the middle of the transaction: the entry is there, and the commit is not."""
    print("appended", flush=True)
    time.sleep(600)


if __name__ == "__main__":
    main(sys.argv[1])
