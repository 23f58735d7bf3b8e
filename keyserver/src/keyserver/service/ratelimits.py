"""Who asks too often: per client and per tenant, over all replicas, without a transaction for each request.

A replica takes a slice, a quarter of a second's worth, out of the shared buckets, in a
transaction of its own, and spends it in memory within a second; what it has not spent by
then it puts back when it takes the next.  Nothing is spent that was not taken out before:
over all replicas a client never gets more than the bucket's ten seconds' worth and the rate.
It may get less, by one slice for each other replica that it has talked to.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from keyserver import metrics
from keyserver.errors import StoreUnavailable, TooMany
from keyserver.policy import Caller
from keyserver.rates import LEASE_SECONDS, Kind, Rate, Rates
from keyserver.store import buckets
from keyserver.store.buckets import Wanted
from keyserver.store.database import Database

MOST_LEASES = 10_000
"""Clients whose slices are kept in memory; the oldest make room and have to take a new one."""


_LONGEST_WAIT = 10.0
_TRIES = 3
_STRIPES = 64
_Limit = tuple[bytes, Rate, str]
"""The bucket's id, its rate, and whose it is."""


@dataclass
class _Lease:
    left: int
    until: float


class RateLimits:
    """The limits, as one replica applies them."""

    def __init__(self, database: Database, per_client: Rates, per_tenant: Rates, clock: Callable[[], float]) -> None:
        """`clock` is in seconds since 1970, shared by the replicas as well as they can."""
        self._database = database
        self._per_client = per_client
        self._per_tenant = per_tenant
        self._clock = clock
        self._lock = threading.Lock()
        self._leases: dict[bytes, _Lease] = {}
        self._taking = [threading.Lock() for _ in range(_STRIPES)]

    def admitted_at_once(self, caller: Caller, kind: Kind, actions: int = 1) -> bool:
        """Whether the request, which counts as so many, is within what this replica holds already; never waits."""
        limits = self._limits(caller, kind)
        now = self._clock()
        with self._lock:
            if not all(self._holds(limit, actions, now) for limit in limits):
                return False
            for name, rate, _ in limits:
                self._leases[name].left -= rate.most_of(actions)
            return True

    def admit(self, caller: Caller, kind: Kind, actions: int = 1) -> None:
        """Takes slices if need be.  Raises TooMany, and StoreUnavailable if the buckets cannot be reached."""
        limits = self._limits(caller, kind)
        if not limits:
            return
        # One thread takes a client's slice, and the others find it: together they would empty the bucket.
        taking = self._taking[limits[0][0][0] % len(self._taking)]
        if not taking.acquire(timeout=_LONGEST_WAIT):
            raise StoreUnavailable("the buckets cannot be reached")
        try:
            for _ in range(_TRIES):
                if self.admitted_at_once(caller, kind, actions):
                    return
                self._take(limits, kind, actions)
        finally:
            taking.release()
        self._refuse(limits[0], kind, 1)

    def _take(self, limits: list[_Limit], kind: Kind, actions: int) -> None:
        now = self._clock()
        with self._lock:
            lacking = [limit for limit in limits if not self._holds(limit, actions, now)]
            unspent = {name: self._leases[name].left for name, _, _ in lacking if name in self._leases}
        wanted = [Wanted(name, rate, unspent.get(name, 0), rate.most_of(actions)) for name, rate, _ in lacking]
        with self._database.writing() as session:
            taken = buckets.take_from_all(session, wanted, int(now * 1000))
        for limit, one in zip(lacking, taken, strict=True):
            if not one.actions:
                self._refuse(limit, kind, -(-one.wait // 1000))
        with self._lock:
            for (name, _, _), one in zip(lacking, taken, strict=True):
                self._leases.pop(name, None)
                self._leases[name] = _Lease(one.actions, now + LEASE_SECONDS)
            while len(self._leases) > MOST_LEASES:
                del self._leases[next(iter(self._leases))]

    def _refuse(self, limit: _Limit, kind: Kind, wait: int) -> NoReturn:
        _, rate, whose = limit
        metrics.count_rate_limited(whose, kind.value)
        raise TooMany(whose, rate.capacity, rate.per_second, wait)

    def _limits(self, caller: Caller, kind: Kind) -> list[_Limit]:
        found = []
        if kind in self._per_client:
            name = _name(kind, caller.tenant, caller.subject)
            found.append((name, self._per_client[kind], "client"))
        if kind in self._per_tenant:
            found.append((_name(kind, caller.tenant), self._per_tenant[kind], "tenant"))
        return found

    def _holds(self, limit: _Limit, actions: int, now: float) -> bool:
        lease = self._leases.get(limit[0])
        return lease is not None and lease.left >= limit[1].most_of(actions) and lease.until > now


def _name(kind: Kind, *whose: str) -> bytes:
    # Each part after its length: no two lists of parts give the same bytes.
    parts = [part.encode() for part in (kind.value, *whose)]
    return hashlib.sha256(b"".join(len(part).to_bytes(4) + part for part in parts)).digest()
