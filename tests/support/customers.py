"""Clients that create, request, approve and release through the SDK, as long as replicas are killed under them."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Sequence

import pytest
from books import Given, Told
from database_trouble import DatabaseTrouble
from server_process import ServerProcess, token_of

from faceseal.client import DpopKey, KeyServer
from faceseal.errors import AccessDenied, KeySourceError
from keyserver.settings import Settings

PATIENCE = 120.0
"""Seconds that a call may take: both replicas may be away for a while."""
MOST_USES = 4


def patient(patch: pytest.MonkeyPatch) -> None:
    """More patient than usual: a start takes longer than the usual retries wait."""
    for name, value in (("SEND_RETRIES", 2000), ("GET_RETRIES", 2000), ("RETRY_PAUSE", 0.05), ("LONGEST_PAUSE", 0.2)):
        patch.setattr(f"faceseal.client.connection.{name}", value)


class Customer(threading.Thread):
    """Somebody with a key of their own, and an approver: each call must succeed in the end, and once.

    Every token is bound to its client's key.  After the last use of a grant another one is
    asked for, which must be refused.
    """

    def __init__(self, url: str, settings: Settings, number: int, log_key: str) -> None:
        super().__init__(name=f"customer {number}")
        own, others = DpopKey.generate(), DpopKey.generate()
        tokens = [
            token_of(settings, f"{name}-{number}", lifetime=3600, jkt=key.thumbprint)
            for name, key in (("requester", own), ("approver", others))
        ]
        home = settings.data.parent / f"customer-{number}"
        self.requester = KeyServer(url, token=tokens[0], log_key=log_key, timeout=PATIENCE, client_key=own, folder=home)
        self.approver = KeyServer(url, token=tokens[1], timeout=PATIENCE, client_key=others)
        self.dice = random.Random(number)
        self.told = Told()
        self.done: Counter[str] = Counter()
        self.failure: BaseException | None = None
        self.over = threading.Event()

    def run(self) -> None:
        try:
            while not self.over.is_set():
                self._one_key()
        except BaseException as failure:
            self.failure = failure
        finally:
            self.requester.close()
            self.approver.close()

    def _one_key(self) -> None:
        key = self.requester.create()
        self.told.created[key.key_id] = key.secret
        uses = self.dice.randint(1, MOST_USES)
        grant = self.requester.request_grant([key.key_id], "drill", uses=uses)
        self.told.granted[grant.id] = uses
        self.approver.approve_grant(grant.id)
        token = self.requester.grant(grant.id).token
        assert token is not None
        for _ in range(uses):
            released = self.requester.release(key.key_id, token)
            receipt = self.requester.last_receipt
            assert receipt is not None
            self.told.given.append(Given(key.key_id, grant.id, released.secret, receipt))
            self.done["releases"] += 1
        try:
            self.requester.release(key.key_id, token)
        except AccessDenied:
            self.done["refused beyond the last use"] += 1
        else:
            raise AssertionError("a grant was used more often than it allows")
        self.done["keys and grants"] += 1


class Killer(threading.Thread):
    """Kills a replica again and again, each time at a random moment after its start, and starts it again."""

    def __init__(self, replica: ServerProcess, kills: int, seed: int, longest: float) -> None:
        """`longest`: seconds that it may run before it is killed."""
        super().__init__(name=f"killer {seed}")
        self._replica, self._kills, self._longest = replica, kills, longest
        self._dice = random.Random(seed)
        self.killed = 0
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            for _ in range(self._kills):
                time.sleep(self._dice.uniform(0, self._longest))
                self._replica.process.kill()
                self._replica.process.wait(20)
                self.killed += 1
                self._replica.start(self._replica.port)
        except BaseException as failure:
            self.failure = failure


def run_under_kills(customers: Sequence[Customer], killers: Sequence[Killer | DatabaseTrouble]) -> list[BaseException]:
    """Let the customers work until all kills and troubles are over, and then end what they began; what failed."""
    for thread in (*customers, *killers):
        thread.start()
    for killer in killers:
        killer.join()
    for customer in customers:
        customer.over.set()
    for customer in customers:
        customer.join(2 * PATIENCE)
    failures = [one.failure for one in (*customers, *killers) if one.failure is not None]
    return failures + [KeySourceError("a client hangs") for customer in customers if customer.is_alive()]
